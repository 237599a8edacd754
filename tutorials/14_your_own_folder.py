# %% [markdown]
# # Training on your own folder
#
# From pictures and masks in a folder to a net that segments pictures it has never seen. At the end you will know how
# the files have to look, how to find what is wrong with them, what happens to a picture on its way into the net, and
# how to train, stop, resume, read the results and predict. Builds on tutorial 0; all that is new is around the net, not
# in it.
#
# The pictures are painted here, into a temporary folder, so that nothing has to be downloaded.

# %%
import contextlib
import io
import signal
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from minisegnet import checkpoint, cli, data, pictures
from minisegnet.class_weights import class_weights
from minisegnet.data.check import check
from minisegnet.metrics import ConfusionMatrix
from minisegnet.predict import predict
from minisegnet.train import Config, train
from minisegnet.trained import load_trained
from minisegnet.tutorial import draw

# %%
NAMES, COLOURS = ("table", "berry", "leaf"), np.array([[60, 60, 70], [230, 120, 60], [70, 160, 220]], np.uint8)
rng = np.random.default_rng(0)
temporary = tempfile.TemporaryDirectory()
root = Path(temporary.name)


def paint(H, W):
    """A picture (3, H, W) in 0..1 of berries and leaves on a table, and its mask (H, W): 0, 1, 2."""
    y, x = np.mgrid[:H, :W]
    image, mask = rng.normal(0.55, 0.1, (3, H, W)), np.zeros((H, W), np.int64)
    for kind in rng.integers(1, 3, size=4):
        angle, top, left = rng.uniform(0, np.pi), rng.uniform(0, H), rng.uniform(0, W)
        u = (x - left) * np.cos(angle) + (y - top) * np.sin(angle)
        v = (y - top) * np.cos(angle) - (x - left) * np.sin(angle)
        inside = (u / (7 if kind == 1 else 16)) ** 2 + (v / 7) ** 2 < 1  # a disc, or an ellipse
        colour = np.array([[0.65, 0.25, 0.4], [0.35, 0.5, 0.3]][kind - 1])[:, None]
        image[:, inside], mask[inside] = colour + rng.normal(0, 0.1, (3, inside.sum())), kind
    return image.clip(0, 1), mask


# %%
def save(folder, name, image, mask):
    """What a camera and a painting program would leave in the folder."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    eight_bits = (255 * image).round().astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(eight_bits).save(folder / "images" / f"{name}.jpg", quality=92)
    pictures.save_mask(folder / "masks" / f"{name}.png", mask, COLOURS)


def short(text):
    return str(text).replace(str(root), "...")


# %% [markdown]
# ## The folder
#
#     mine/images/00.jpg      pictures, in any format
#     mine/masks/00.png       a mask for each, of the same name and size; a pixel's value is its class
#
# A mask is not a picture but a table of class numbers in the shape of one. It must be a PNG (or another format that
# changes nothing). Numbers 0, 1, 2 look black in a viewer, unless the file has a palette, as `save_mask` writes it.

# %%
mine = root / "mine"
for k in range(20):
    save(mine, f"{k:02d}", *paint(56, 72))
print(*sorted(short(path) for path in mine.rglob("0[01]*")), sep="\n")
stored = np.array(Image.open(mine / "masks" / "00.png"))
print("labels in the first mask:", dict(enumerate(np.bincount(stored.ravel()).tolist())))
print(stored[20:26, 26:50])

# %% [markdown]
# One line of text opens it: kind, path, options. Without lists (`train.txt`, `val.txt`) a fifth of the pictures is kept
# apart for validation, the same ones each time.

# %%
spec = f"folder:{mine},classes={'+'.join(NAMES)}"
train_data, val_data = data.open(spec), data.open(spec, split="val")
print(train_data, val_data, *map(short, train_data.notes), sep="\n")
image, mask = train_data[0]
print("a sample:", image.shape, image.dtype, mask.shape, mask.dtype)
assert (len(train_data), len(val_data)) == (16, 4)

# %% [markdown]
# ## Look before you train
#
# `minisegnet data check folder:mine` (here from Python) reads every file once and reports everything that is wrong,
# and how often each class occurs. Rare classes can be weighted up in the loss, for example by the median frequency
# (Eigen and Fergus, 2015):
#
#     frequency[c] = pixels of c / pixels of all pictures in which c occurs
#     weight[c] = median of the frequencies / frequency[c]

# %%
report = check(spec, progress=False, contact_sheet=root / "sheet.png")
print(short(report))
assert report
masks = [train_data[i][1] for i in range(len(train_data))]
frequency = np.array([np.mean([m == c for m in masks if (m == c).any()]) for c in range(3)])
by_hand = np.median(frequency) / frequency
print("frequencies", frequency.round(3), "  weights", by_hand.round(3))
assert np.allclose(by_hand, class_weights("median-frequency", train_data), rtol=1e-5)

fig, axes = draw.panels(3, size=(11, 3))
draw.picture(axes[0], image.transpose(2, 0, 1) / 255, title="a picture")
draw.mask(axes[1], mask, title="its mask", colours=COLOURS)
bars = axes[2].bar(NAMES, 100 * report.pixels / report.pixels.sum(), color=COLOURS / 255)
axes[2].bar_label(bars, [f"weight {w:.2f}" for w in by_hand], fontsize=10)
axes[2].set_title("% of the pixels", fontsize=12)
axes[2].margins(y=0.15)
axes[2].tick_params(labelsize=11)
draw.show(fig, "14_classes")

# %% [markdown]
# ## Typical mistakes, and what the program says
#
# First two common ones in numbers: masks saved as JPEG, and masks resized smoothly. Neither keeps class numbers. Then
# small new folders, the masks of each spoiled in another way.

# %%
edge = np.array([[0, 0, 0, 0, 2, 2, 2, 2]] * 8, np.uint8)  # table beside a leaf: there is no berry
as_jpeg = io.BytesIO()
Image.fromarray(100 * edge).save(as_jpeg, "JPEG", quality=75)  # spread to 0 and 200, as masks often are
smooth = np.array(Image.fromarray(edge).resize((24, 8), Image.Resampling.BILINEAR))
nearest = np.array(Image.fromarray(edge).resize((24, 8), Image.Resampling.NEAREST))
print("0 and 200 through JPEG:      ", np.unique(np.array(Image.open(as_jpeg))))
print("0 and 2, enlarged bilinearly:", smooth[0])
print("0 and 2, enlarged by nearest:", nearest[0])
assert len(np.unique(np.array(Image.open(as_jpeg)))) > 2
assert set(smooth.ravel()) == {0, 1, 2}
assert set(nearest.ravel()) == {0, 2}


# %%
def copy_with(what, spoil):
    """A new folder with six pictures, its masks spoiled; prints and returns what `data check` finds."""
    folder = Path(tempfile.mkdtemp(dir=root))
    for k, (image, mask) in enumerate(originals):
        save(folder, f"{k}", image, mask)
    spoil(folder / "masks")
    found = check(f"folder:{folder},classes={'+'.join(NAMES)}", progress=False)
    print(f"\n{what}")
    for file, text in found.problems[:2] or [("", "no problems found")]:
        line = f"{file}: {text}".removeprefix(": ").replace(str(folder), "...")
        print(textwrap.fill(line, 110, initial_indent="   ", subsequent_indent="   "))
    return found


# %%
def relabelled(table):
    def spoil(masks):
        for path in masks.iterdir():
            Image.fromarray(np.array(table, np.uint8)[np.array(Image.open(path))]).save(path)

    return spoil


def resized(width, height, how):
    def spoil(masks):
        for path in masks.iterdir():
            mask = Image.fromarray(np.array(Image.open(path)))
            small = mask.resize((width // 3, height // 3), Image.Resampling.NEAREST)
            small.resize((width, height), how).save(path)

    return spoil


def as_jpeg_file(masks):
    Image.open(masks / "3.png").convert("L").save(masks / "3.jpg")
    (masks / "3.png").unlink()


# %%
originals = [paint(56, 72) for _ in range(6)]
found = {
    "blurs": copy_with("one mask saved as JPEG", as_jpeg_file),
    "classes are the values 0 to 2": copy_with("labels 0, 1, 7", relabelled([0, 1, 7])),
    "values=0+255": copy_with("labels 0 and 255, as painting programs like them", relabelled([0, 255, 255])),
    "pixels, but its picture": copy_with("masks of another size", resized(40, 40, Image.Resampling.NEAREST)),
    "has no mask": copy_with("one mask forgotten", lambda masks: (masks / "3.png").unlink()),
}
for words, report in found.items():
    assert words in str(report.problems), words

# %% [markdown]
# And one that no program can find: masks that somebody has resized smoothly. Between table (0) and leaf (2) lies the
# mean, 1, and that is a class. Only the counts give it away, and the contact sheet (`data check --sheet sheet.png`),
# where each leaf has a thin rim of berry.

# %%
smooth = copy_with("masks shrunk and enlarged bilinearly", resized(72, 56, Image.Resampling.BILINEAR))
sharp = copy_with("the same by nearest", resized(72, 56, Image.Resampling.NEAREST))
berries = [sum(part.counts.pixels[1] for part in report.parts.values()) for report in (smooth, sharp)]
print(f"\npixels of berry: {berries[0]} bilinearly, {berries[1]} by nearest")
assert smooth, "no problem is found"
assert berries[0] > berries[1]

# %% [markdown]
# ## On the way into the net
#
# Sixteen pictures are few. Cut, flipped and turned at random they are new pictures each time, as long as the mask moves
# with its picture. So a transform here takes both: `image, mask = t(image, mask, rng)`. Pictures are interpolated
# bilinearly, masks take the nearest label, and what comes from outside the picture is void (255): not trained on, not
# scored.

# %%
augment = data.transforms.from_text("Rotate(25); RandomCrop(48, 48); HorizontalFlip(); ColorJitter(0.2, 0.2)")
fig, axes = draw.panels(8, size=(11, 5.2), rows=2)
draw.picture(axes[0], image.transpose(2, 0, 1) / 255, title="a picture")
draw.mask(axes[4], mask, title="its mask", colours=COLOURS)
for k in (1, 2, 3):
    changed, changed_mask = augment(image, mask, rng=k)
    draw.picture(axes[k], changed.transpose(2, 0, 1) / 255, title=f"rng={k}")
    draw.mask(axes[4 + k], changed_mask, title=f"{(changed_mask == data.VOID).mean():.0%} void", colours=COLOURS)
    assert set(np.unique(changed_mask)) <= {*np.unique(mask), data.VOID}
draw.show(fig, "14_augmented")
flipped = mask[:, ::-1]
print(f"flip the picture and forget the mask: {(flipped != mask).mean():.0%} of the labels are wrong")

# %% [markdown]
# The loader makes batches: in a new order each epoch, each sample with random numbers of its own that depend on seed,
# epoch and sample alone. So a run can be repeated, and resumed in the middle, bit for bit. `ToArray` turns (H, W, C)
# bytes into (C, H, W) numbers in 0..1, `Normalize` takes off the mean of the data set and divides by the standard
# deviation.

# %%
mean, std = data.statistics(train_data)
steps = [*augment.transforms, data.transforms.ToArray(), data.transforms.Normalize(mean, std)]
loader = data.DataLoader(train_data, batch_size=4, shuffle=True, transform=data.transforms.Compose(steps), rng=0)
batch = next(loader.batches(epoch=0))
again = next(loader.batches(epoch=0))
print("batch:", batch.images.shape, batch.images.dtype, batch.targets.shape, batch.targets.dtype)
print("pictures", batch.indices, "then", next(loader.batches(epoch=1)).indices, " mean", batch.images.mean().round(2))
assert np.array_equal(batch.images, again.images)
assert np.array_equal(batch.targets, again.targets)

# %% [markdown]
# ## Training
#
# `train` does all of this, from one configuration. The same in a terminal:
#
#     minisegnet train --data folder:mine,classes=table+berry+leaf --model unet --set width=8 --set depth=2 \
#         --epochs 10 --lr 0.01 --augment "Rotate(25); RandomCrop(48, 48); HorizontalFlip()" \
#         --class-weights median-frequency --panels-every 0 --out whole

# %%
config = Config(
    data=spec,
    model="unet",
    model_settings={"width": 8, "depth": 2},
    epochs=10,
    lr=0.01,
    augment="Rotate(25); RandomCrop(48, 48); HorizontalFlip()",
    class_weights="median-frequency",
    panels_every=0,  # pictures of predictions only at the end
)
(root / "config.toml").write_text(config.as_toml(), encoding="utf-8")
result = train(config, root / "whole", quiet=True)
for row in result.history[::3]:
    print("   ".join(f"{name} {row[name]:.3g}" for name in ("epoch", "train_loss", "val_loss", "val_miou")))
print(f"best: epoch {result.best_epoch}, mean IoU {result.best_miou:.3f}")
assert result.best_miou > 0.5

# %% [markdown]
# The run's folder has everything, and `report.html` shows it: curves, scores of each class, the confusion matrix, and
# pictures of the best net's predictions with their errors.

# %%
for path in sorted(result.folder.rglob("*.*")):
    print(f"   {path.relative_to(result.folder).as_posix():22s} {path.stat().st_size / 1000:7.1f} kB")
print((result.folder / "classes.csv").read_text(encoding="utf-8"))
curves = {name: [row[name] for row in result.history] for name in ("train_loss", "val_loss")}
fig, axes = draw.panels(2, size=(10, 3.2))
epochs = range(1, 1 + len(result.history))
draw.curve(axes[0], curves, epochs, "epoch", "loss")
draw.curve(axes[1], {"mean IoU": [row["val_miou"] for row in result.history]}, epochs, "epoch", "mean IoU")
draw.show(fig, "14_curves")

# %% [markdown]
# ## Stopped, and resumed
#
# A long run will be stopped one day: Ctrl-C, a closed terminal, a power cut. `last.safetensors` holds all that the next
# step depends on: weights, the optimiser's memory, the schedule, epoch and step. Here the same run on the command line
# gets a Ctrl-C after its fourth epoch, and is resumed.


# %%
class CtrlC(io.StringIO):
    """Takes what is printed, and presses Ctrl-C when a certain text has come."""

    after = "epoch   4 "

    def write(self, text):
        if text.startswith(self.after):
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def command(*line, output=None):
    """Run `minisegnet` with these arguments; prints the last lines of its output, returns its exit code."""
    line, output = [str(word) for word in line], output or io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = cli.main(line)
    print(f"minisegnet {short(' '.join(line))}   (exit code {code})")
    print(*(f"   {text}" for text in short(output.getvalue()).splitlines()[-4:]), sep="\n")
    return code


assert command("train", "--config", root / "config.toml", "--out", root / "stopped", output=CtrlC()) == 130
assert command("train", "--resume", "--out", root / "stopped") == 0
weights = [checkpoint.load(folder / "last.safetensors").tensors for folder in (result.folder, root / "stopped")]
assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
print(f"the {len(weights[0])} arrays of both nets are the same, bit by bit")

# %% [markdown]
# ## Predicting
#
# The net is a stack of convolutions: it takes pictures of any size (large ones are cut into overlapping tiles). The
# checkpoint remembers how to prepare them and what the classes are. In a terminal: `minisegnet predict whole new`.

# %%
new_image, new_mask = paint(90, 150)
save(root / "new", "large", new_image, new_mask)
assert command("predict", root / "whole", root / "new" / "images", "--out", root / "found") == 0
predicted = np.array(Image.open(root / "found" / "large.png"))
confusion = ConfusionMatrix(len(NAMES))
confusion.update(new_mask[None], predicted[None].astype(np.int64))
print(predicted.shape, "labels", np.unique(predicted))
print(confusion.table(NAMES))
ratio = by_hand[1] / by_hand[0]
print(f"In the loss a missed pixel of berry weighs {ratio:.0f} times as much as a pixel of table taken for berry:")
print("so nearly all berry is found (accuracy), and what is found is not all berry (precision)")
fig, axes = draw.panels(4, size=(12, 2.4))
draw.picture(axes[0], new_image, title="a new picture, 150x90")
draw.mask(axes[1], new_mask, title="truth", colours=COLOURS)
draw.mask(axes[2], predicted, title="prediction", colours=COLOURS)
draw.picture(axes[3], pictures.error_map(new_mask, predicted).transpose(2, 0, 1) / 255, title="errors in red")
draw.show(fig, "14_prediction")
eight_bits = (255 * new_image).round().astype(np.uint8).transpose(1, 2, 0)
probabilities = predict(load_trained(root / "whole"), eight_bits).probabilities
print(
    "from Python, with probabilities:", probabilities.shape, "which sum to", probabilities.sum(axis=0).mean().round(6)
)

# %%
temporary.cleanup()
assert not root.exists()

# %% [markdown]
# ## Try
#
# 1. Your own folder: a dozen photographs, masks painted with GIMP or Krita in indexed mode. First
#    `minisegnet data check folder:PATH --sheet sheet.png`, then `minisegnet train --data folder:PATH --out runs/mine`.
# 2. Train without `augment` (then all pictures must have one size) and compare the two curves of the loss.
# 3. `minisegnet explain PICTURE --checkpoint runs/mine` opens your net, number by number.
#
# What a folder may look like is written in `minisegnet/data/formats/folder.py`, all settings in
# `minisegnet/train/config.py` (or `minisegnet train --help`), the loop in `minisegnet/train/trainer.py`.
#
# ## Check yourself
#
# 1. Why is a mask never resized bilinearly, and why does no check find it if somebody did?
# 2. What is the weight of a class that fills half of each picture, if the median of the frequencies is 0.1?
# 3. `best.safetensors` and `last.safetensors`: which one do you predict with, and which one do you resume from?

# %% [markdown]
# ## Answers
#
# 1. A mean of classes means nothing, but it is a number, and often the number of another class.
# 2. 0.1 / 0.5 = 0.2.
# 3. The best one is the net of the epoch with the highest mean IoU on the validation pictures: predict with it. The
#    last one also has the optimiser's state: resume from it.
