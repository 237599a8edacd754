"""The training loop, with all that a long run needs around it: validation, checkpoints, resuming, pictures, signals."""

import contextlib
import dataclasses
import math
import time
from pathlib import Path
from typing import NamedTuple

import kernels

from .. import checkpoint, data, losses, optim
from ..class_weights import class_weights
from ..data.loader import WorkerError
from ..evaluate import evaluate, panel_rows
from ..files import atomic_write
from ..trained import Recipe, check_same_classes, checkpoint_of, load_trained, scores_of
from . import parts
from .config import Config
from .folder import MEASURES, RunFolder
from .progress import Progress
from .trouble import Interrupted, TrainingError, layer_of, not_finite, stop_requests

NOTE_EVERY = 10  # steps from one line of steps.jsonl to the next
DRAW_EVERY = 10  # seconds, from one drawing of the curves to the next: short epochs need not wait for it
PANEL = 4  # pictures in a panel


# What a checkpoint keeps of a Trainer, besides net, optimiser and schedule.
STATE = ("epoch", "batch", "step", "loss_sum", "seconds", "lr", "history", "best", "best_loss", "best_epoch")


class Result(NamedTuple):
    """What `train` returns.

    Attributes
        folder: of the run, a pathlib.Path
        best_miou, best_epoch: the highest mean IoU on the validation data, 0 to 1, and the epoch of it, from 1
        history: the rows of metrics.csv, a dict for each epoch: "epoch", "lr", "train_loss", "val_miou", ...

    >>> result = Result(Path("runs/a"), 0.5, 1, [{"epoch": 1, "train_loss": 0.9, "val_miou": 0.5}])
    >>> [row["val_miou"] for row in result.history]
    [0.5]
    """

    folder: Path
    best_miou: float
    best_epoch: int
    history: list


def train(config, out, resume=False, overwrite=False, quiet=False):
    """Train as `config` says, into the folder `out`. Returns a Result.

    resume: go on with the run in `out`, bit for bit as if it had never stopped; its own configuration counts, and
        config may be None. overwrite: delete the run that is in `out`. quiet: without progress bar and messages.

    Raises FileExistsError if there is a run and neither is asked for, or if another process is at work in `out`,
    FileNotFoundError if there is none to resume, Interrupted after Ctrl-C, SIGTERM or SIGHUP (the step is finished and
    saved; a second one aborts), TrainingError for a loss or weights that are NaN or infinite and for a data worker that
    died, MemoryError with the array and the layer, and whatever is wrong with the data or the configuration, before
    anything is written.

    >>> import tempfile
    >>> tiny = {"width": 2, "depth": 1}
    >>> config = Config(data="shapes:size=16,count=5", model="unet", model_settings=tiny, epochs=2, panels_every=0)
    >>> with tempfile.TemporaryDirectory() as folder, kernels.use("reference"):
    ...     result = train(config, out=f"{folder}/first", quiet=True)
    ...     (result.folder / "report.html").exists(), (result.folder / "best.safetensors").exists()
    (True, True)
    >>> [(row["epoch"], row["step"]) for row in result.history]
    [(1, 1), (2, 2)]
    """
    folder = RunFolder(out)
    if resume:
        started = folder.files() == [folder.config]  # it was killed before it could save anything
        if not folder.last.exists() and not started:
            raise FileNotFoundError(f"{folder.path} has no {folder.last.name} to resume from; leave --resume out")
        config = Config.read(folder.config)
    else:
        folder.check_free(overwrite)
    found = checkpoint.load(folder.last) if resume and folder.last.exists() else None
    trainer = Trainer(config, folder, quiet, found)
    if not resume:
        trainer.check_first_batch()
    with folder.locked():
        if not resume:
            folder.prepare(overwrite)
            atomic_write(folder.config, config.as_toml())
        if found:
            trainer.resume(found)
        else:
            trainer.save(folder.last)  # a disk that is full or can't be written is noticed now, not after an epoch
        with stop_requests() as requested:
            return trainer.run(requested)


class Trainer:
    """A run in progress. found: the checkpoint that `resume` will go on from, if any."""

    def __init__(self, config, folder, quiet=False, found=None):
        if config.threads:
            kernels.set_num_threads(config.threads)
        self.config, self.folder, self.progress = config, folder, Progress(quiet)
        self.say = self.progress.say
        self.requested = lambda: 0
        self.open_data(found)
        trained = self.make_net(found)
        self.make_training(trained)
        self.epoch, self.batch, self.step = 1, 0, 0  # of the step that comes next; epochs count from 1
        self.loss_sum, self.seconds = 0.0, 0.0  # of this epoch so far
        self.history, self.best, self.best_loss, self.best_epoch = [], -math.inf, math.inf, 0
        self.lr = self.optimizer.lr  # of the last step
        self.drawn = -math.inf  # when curves were drawn last

    # ------------------------------------------------------------------ what it is made of

    def open_data(self, found):
        """The data sets, the teacher, and the recipe: that of the checkpoint, if there is one, else a new one."""
        config = self.config
        self.train_data = data.open(config.data, split=config.train_split)
        self.val_data = data.open_like(config.val_data or config.data, self.train_data.channels, config.val_split)
        check_same_classes(self.train_data, self.val_data)
        self.teacher = load_trained(config.teacher, config.device) if config.teacher else None
        self.recipe = Recipe(**found.config["recipe"]) if found else self.make_recipe()

    def make_net(self, found):
        """The net, with what it starts from; returns the parameters that are trained."""
        config = self.config
        self.net = parts.make_net(config, self.train_data.channels, len(self.train_data.classes))
        anew = self.start_from(config.init) if config.init and not found else []
        if config.sparsity:
            parts.prune(self.net, config.sparsity)
        self.frozen = parts.frozen_prefixes(config, self.net)
        raw = [name for name in anew if self.frozen and name.startswith(self.frozen)]
        if raw:
            raise ValueError(
                f"freeze {config.freeze!r} would keep weights that nobody has trained: {raw[0]} is not in "
                f"{config.init} or has another shape there; use the same model and settings"
            )
        trained = [p for name, p in self.net.named_parameters() if not name.startswith(self.frozen)]
        if not trained:
            raise ValueError(f"freeze {config.freeze!r} leaves nothing to train")
        self.net.to(config.device)
        return trained

    def make_training(self, trained):
        """Loss, loaders, optimiser and schedule, for these parameters."""
        config = self.config
        weight = class_weights(config.class_weights, self.train_data)
        self.criterion = parts.make_loss(config, weight)
        self.recipe = dataclasses.replace(self.recipe, class_weights=() if weight is None else tuple(weight.tolist()))
        self.imitation = losses.DistillationLoss(config.temperature) if self.teacher else None
        if config.device != "cpu":
            self.criterion, self.imitation = (
                loss if loss is None or loss.on_gpu else losses.OnHost(loss)
                for loss in (self.criterion, self.imitation)
            )
        train_transform, val_transform = parts.make_transforms(config, self.recipe.mean, self.recipe.std)
        loader = {"workers": config.workers, "rng": config.seed}
        batch_size = min(config.batch_size, len(self.train_data))
        if batch_size < config.batch_size:
            self.say(
                f"there are only {batch_size} pictures to train on: so many are in a step, not {config.batch_size}"
            )
        self.loader = data.DataLoader(
            self.train_data,
            batch_size,
            shuffle=True,
            transform=train_transform,
            drop_last=True,
            balanced=config.balanced,
            **loader,
        )
        self.val_loader = data.DataLoader(self.val_data, 1, transform=val_transform, **loader)
        self.optimizer = parts.make_optimizer(config, trained)
        self.schedule = parts.make_schedule(config, self.optimizer, config.epochs * len(self.loader))

    def make_recipe(self):
        """What prediction needs to know besides the weights."""
        mean, std = (0.0,) * self.train_data.channels, (1.0,) * self.train_data.channels
        if self.teacher:  # both nets see the same numbers
            check_same_classes(self.teacher.recipe, self.train_data)
            for name in ("normalise", "resize"):
                wanted, got = getattr(self.teacher.recipe, name), getattr(self.config, name)
                if wanted != got:
                    raise ValueError(
                        f"the teacher was trained with --{name} {wanted}, the student must be too, got {got}"
                    )
            mean, std = self.teacher.recipe.mean, self.teacher.recipe.std
        elif self.config.normalise == "dataset":
            mean, std = (tuple(map(float, values)) for values in data.statistics(self.train_data, limit=200))
        return Recipe.of(self.config, self.train_data, mean, std)

    def start_from(self, path):
        """Take over the weights that fit of a checkpoint or a run; returns the names of those that did not."""
        path = checkpoint_of(path)
        found = checkpoint.restore(checkpoint.load(path), self.net, strict=False)
        anew = [*found.missing, *found.reshaped]
        rest = f"; {', '.join(anew[:4])}{' ...' if len(anew) > 4 else ''} start anew" if anew else ""
        count = len(self.net.state_dict())
        self.say(f"{path}: {count - len(anew)} of {count} arrays taken over{rest}")
        return anew

    def check_first_batch(self):
        """Raise for whatever is wrong with it: before there is a folder, and not after it."""
        loader = self.loader
        loader = data.DataLoader(
            self.train_data, loader.batch_size, True, transform=loader.transform, rng=self.config.seed
        )
        with contextlib.closing(loader.batches(1)) as batches:
            batch = next(batches)
        scores = scores_of(self.net.eval(), batch.images[:1])
        if scores.ndim != batch.targets.ndim + 1:
            wants = "masks" if batch.targets.ndim == 3 else "one label for each picture"
            does = "classifies whole pictures" if scores.ndim == 2 else "labels each pixel"
            raise ValueError(
                f"{self.config.model} {does}, but {self.train_data.name} has {wants}; choose another --model"
            )

    # ------------------------------------------------------------------ the run

    def run(self, requested):
        """All epochs that are left; `requested()` says whether a signal asks to stop."""
        self.requested = requested
        total = self.config.epochs * len(self.loader)
        with self.progress.steps(total, done=self.step), self.explained():
            while not self.is_finished():
                self.train_epoch()
                if self.is_validation():
                    self.validate()
                else:
                    self.note_epoch({})
                self.epoch, self.batch, self.loss_sum, self.seconds = self.epoch + 1, 0, 0.0, 0.0
                self.save(self.folder.last)
                self.write_pictures()
            self.finish()
        return Result(self.folder.path, self.best, self.best_epoch, self.history)

    def is_finished(self):
        """Whether all epochs are done, or as many validations without a better one as --patience says."""
        since_best = [row for row in self.history if row["epoch"] > self.best_epoch and not math.isnan(row["val_loss"])]
        return self.epoch > self.config.epochs or 0 < self.config.patience <= len(since_best)

    @contextlib.contextmanager
    def explained(self):
        """Adds to errors that come from outside what this run was doing, and what is left of it."""
        try:
            yield
        except WorkerError as error:
            raise TrainingError(f"{error}; `--resume` goes on from {self.folder.last}") from error
        except MemoryError as error:
            layer = layer_of(error, self.net)
            where = f"step {self.step + 1} (epoch {self.epoch}{f', layer {layer}' if layer else ''})"
            raise MemoryError(
                f"memory ran out in {where}: {str(error) or 'no more is known'}; the last good state is "
                f"{self.folder.last}; try a smaller --batch-size or --resize, or a narrower net"
            ) from error

    def watched(self, loader):
        """A loader's batches for an evaluation, between which a request to stop is heard."""
        with contextlib.closing(iter(loader)) as batches:
            for batch in batches:
                yield batch
                if self.requested():
                    raise Interrupted(self.requested(), self.folder.last)

    def is_validation(self):
        return self.epoch % self.config.val_every == 0 or self.epoch == self.config.epochs

    def train_epoch(self):
        """The rest of this epoch's steps."""
        self.net.train()
        for name, layer in self.net.named_layers():
            if self.frozen and f"{name}.".startswith(self.frozen):
                layer.training = False  # running statistics are frozen with the weights
        batches = self.loader.batches(self.epoch, start=self.batch)
        with contextlib.closing(batches), contextlib.closing(self.on_device(batches)) as arrays:
            while True:
                start = time.perf_counter()
                batch = next(arrays, None)
                if batch is None:
                    return
                loss = self.train_step(*batch)
                self.seconds += time.perf_counter() - start
                self.loss_sum += loss
                self.batch, self.step = self.batch + 1, self.step + 1
                self.show(loss)
                if self.requested():
                    self.save(self.folder.last)
                    raise Interrupted(self.requested(), self.folder.last)

    def on_device(self, batches):
        """(images, targets) of each batch, where the net computes."""
        pairs = ((batch.images, batch.targets) for batch in batches)
        return kernels.ahead(pairs, self.config.device)

    def train_step(self, images, targets):
        """Forward, loss, backward, update; returns the loss."""
        config = self.config
        self.net.zero_grad()
        scores, saved = self.net.forward(images)
        ops = kernels.ops_for(scores)
        loss, loss_saved = self.criterion.forward(scores, targets)
        dscores = self.criterion.backward(loss_saved, 1 - config.teacher_share if self.teacher else 1.0)
        if self.teacher:
            imitation, imitation_saved = self.imitation.forward(scores, self.teacher.net(images))
            loss = (1 - config.teacher_share) * loss + config.teacher_share * imitation
            imitating = self.imitation.backward(imitation_saved, config.teacher_share)
            dscores = ops.add_forward([dscores, imitating])
        if not math.isfinite(loss):
            raise self.diverged(f"the loss is {loss} at step {self.step + 1}")
        self.net.backward(dscores, saved)
        if config.l1:
            for _, p in parts.prunable(self.net):
                ops.add_sign_into(p.grad, p.value, config.l1)
        if config.clip:
            optim.clip_grad_norm(self.optimizer.params, config.clip)
        masks = [(p, ops.nonzero(p.value)) for _, p in parts.prunable(self.net)] if config.sparsity else []
        self.optimizer.step()
        for p, mask in masks:  # what was pruned stays pruned
            ops.multiply_into(p.value, mask)
        self.lr = self.optimizer.lr
        if config.schedule != "plateau":
            self.schedule.step()
        return loss

    def validate(self):
        """Measure on the validation data; the best net so far is saved."""
        start = time.perf_counter()
        self.progress.now(f"epoch {self.epoch}: validating")
        try:
            confusion, loss = evaluate(
                self.net, self.val_loader, len(self.recipe.classes), self.criterion, progress=self.watched
            )
        except Interrupted:
            self.save(self.folder.last)  # all steps of the epoch are done: only the validation is to be done again
            raise
        if not math.isfinite(loss):
            raise self.diverged(f"the validation loss is {loss} after step {self.step}")
        miou = confusion.mean_iou()
        self.note_epoch(
            {
                "val_loss": loss,
                "val_miou": miou,
                "val_accuracy": confusion.accuracy(),
                "val_class_accuracy": confusion.mean_class_accuracy(),
            }
        )
        if self.config.schedule == "plateau":
            self.schedule.step(miou)
        better = (miou, -loss) > (self.best, -self.best_loss)  # equal scores, as of a net that knows one class only
        if better:
            self.best, self.best_loss, self.best_epoch = miou, loss, self.epoch
            self.save(self.folder.best, to_resume=False)
        self.say(
            f"epoch {self.epoch:3d}   loss {self.history[-1]['train_loss']:.3f}   val loss {loss:.3f}   "
            f"mIoU {miou:.3f}{' *' if better else '  '}   accuracy {confusion.accuracy():.3f}   "
            f"{self.seconds:.0f} + {time.perf_counter() - start:.0f} s"
        )

    def note_epoch(self, measured):
        """A row of metrics.csv."""
        unknown = dict.fromkeys(MEASURES, math.nan)
        batches = max(1, self.batch)
        self.history.append(
            {"epoch": self.epoch, "step": self.step, "lr": self.lr, "train_loss": self.loss_sum / batches}
            | unknown
            | measured
            | {
                "seconds": round(self.seconds, 3),
                "images_per_second": round(self.batch * self.loader.batch_size / max(self.seconds, 1e-9), 2),
            }
        )
        self.folder.write_metrics(self.history)

    def show(self, loss):
        """Move the bar; now and then a line for steps.jsonl."""
        if self.step % NOTE_EVERY == 0:
            self.folder.note_step(step=self.step, epoch=self.epoch, loss=loss, lr=self.lr)
        rate = self.batch * self.loader.batch_size / max(self.seconds, 1e-9)
        best = f" mIoU {self.best:.3f}" if self.best_epoch else ""
        self.progress.step(
            f"epoch {self.epoch}/{self.config.epochs}",
            f"loss {self.loss_sum / self.batch:.3f}{best} {rate:.1f} images/s",
        )

    # ------------------------------------------------------------------ pictures and the end

    def write_pictures(self):
        """Curves, unless they have just been drawn, and every few epochs a panel."""
        from .. import charts

        if time.monotonic() > self.drawn + DRAW_EVERY:
            charts.curves(self.history, self.folder.curves)
            self.drawn = time.monotonic()
        every = self.config.panels_every
        if self.train_data.kind == "segmentation" and every and (self.epoch - 1) % every == 0:
            self.write_panel(self.folder.panels / f"epoch-{self.epoch - 1:04d}.png")

    def write_panel(self, path):
        from .. import pictures

        rows = panel_rows(self.net, self.val_data, self.val_loader.transform, PANEL)
        pictures.panel(rows, self.recipe.colours, self.recipe.classes, path)

    def finish(self):
        """The curves, the best net's confusion matrix, class table and panel, and the report."""
        from .. import charts, report

        best = load_trained(self.folder.best if self.best_epoch else self.folder.last, self.config.device)
        self.net = best.net
        confusion, _ = evaluate(best.net, self.val_loader, len(self.recipe.classes), progress=self.watched)
        charts.curves(self.history, self.folder.curves)
        charts.confusion(confusion.matrix, self.recipe.classes, self.folder.confusion)
        self.folder.write_classes(self.recipe.classes, confusion)
        if self.train_data.kind == "segmentation":
            self.write_panel(self.folder.panels / "best.png")
        report.write_report(self.folder.path)
        which = f"epoch {self.best_epoch}, mIoU {self.best:.3f}" if self.best_epoch else "unknown, all pixels are void"
        self.say(f"\nbest: {which}\n{confusion.table(self.recipe.classes)}")
        self.say(f"\n{self.folder.report} shows all of it.")

    # ------------------------------------------------------------------ checkpoints

    def save(self, path, to_resume=True):
        """Everything that the next step depends on, in one file, or without the optimiser what using the net needs.

        TrainingError for a net that holds NaN or infinity.
        """
        bad = not_finite(self.net)
        if bad is not None:
            raise self.diverged(f"{bad} holds NaN or infinity after step {self.step}")
        state = {name: getattr(self, name) for name in STATE}
        saved_config = {"config": self.config.as_dict(), "recipe": self.recipe.as_dict()}
        saved_config["pictures"] = len(self.train_data)
        training = (self.optimizer, self.schedule) if to_resume else (None, None)
        checkpoint.save(path, self.net, *training, state, saved_config)

    def diverged(self, what):
        """The TrainingError for numbers that are none any more."""
        good = self.folder.last if self.folder.last.exists() else "the beginning"
        return TrainingError(
            f"{what} (epoch {self.epoch}); nothing was saved of it, the last good state is {good}; try a lower --lr, "
            f"--warmup or --clip 1"
        )

    def resume(self, found):
        """Go on where the checkpoint `last` was saved."""
        if found.config["pictures"] != len(self.train_data):
            raise ValueError(
                f"{self.config.data} had {found.config['pictures']} pictures when the run began, and has "
                f"{len(self.train_data)} now; bring them back, or start another run with --init {self.folder.last}"
            )
        checkpoint.restore(found, self.net, self.optimizer, self.schedule)
        for name, value in found.state.items():
            setattr(self, name, value)
        self.folder.cut_steps(self.step)
        if not self.batch and self.epoch > 1:
            self.write_pictures()  # the process may have been killed before it did
        if self.is_finished():
            done = f"{self.folder.path} is finished, after {self.epoch - 1} of {self.config.epochs} epochs"
            self.say(f"{done}; to train longer, begin another run with --init {self.folder.path}")
        else:
            self.say(f"{self.folder.last}: going on with epoch {self.epoch}, step {self.step + 1}")
