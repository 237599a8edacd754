"""The training loop, with all that a long run needs around it: validation, checkpoints, resuming, pictures, signals."""

import contextlib
import math
import signal
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import kernels

from .. import checkpoint, data, losses, optim
from ..evaluate import evaluate, panel_rows
from ..files import atomic_write
from ..trained import Recipe, load_trained
from . import parts
from .config import Config, load
from .folder import MEASURES, RunFolder

NOTE_EVERY = 10  # steps from one line of steps.jsonl to the next
PANEL = 4  # pictures in a panel


class TrainingError(RuntimeError):
    """A run that can't go on: the loss is not a number any more."""

    expected = True  # no mistake in this program: a message is enough


class Interrupted(RuntimeError):
    """The run was asked to stop, and has saved where it is. `signal` is the number of the signal."""

    def __init__(self, signal, path):
        super().__init__(f"stopped as asked; `--resume` goes on from {path}")
        self.signal = signal


class Result(NamedTuple):
    folder: object  # pathlib.Path
    best_miou: float
    best_epoch: int
    history: list  # a dict for each epoch


def train(config, out, resume=False, overwrite=False, quiet=False):
    """Train as `config` says, into the folder `out`. Returns a Result.

    resume: go on with the run in `out`, bit for bit as if it had never stopped; its own configuration counts, and
        config may be None. overwrite: delete the run that is in `out`. quiet: without progress bar and messages.

    Raises FileExistsError if there is a run and neither is asked for, FileNotFoundError if there is none to resume,
    Interrupted after Ctrl-C or SIGTERM (the step is finished and saved; a second one aborts), TrainingError for a loss
    that is NaN or infinite, and whatever is wrong with the data or the configuration, before anything is written.
    """
    folder = RunFolder(out)
    if resume:
        if not folder.last.exists():
            raise FileNotFoundError(f"{folder.path} has no {folder.last.name} to resume from; leave --resume out")
        config = Config(**load(folder.config))
    trainer = Trainer(config, folder, quiet)
    if resume:
        trainer.resume()
    else:
        folder.prepare(overwrite)
        atomic_write(folder.config, config.as_toml())
    with stop_requests() as requested:
        return trainer.run(requested)


class Trainer:
    """A run in progress."""

    def __init__(self, config, folder, quiet=False):
        if config.threads:
            kernels.set_num_threads(config.threads)
        self.config, self.folder, self.quiet = config, folder, quiet
        self.train_data = data.open(config.data, split=config.train_split)
        self.val_data = data.open(config.val_data or config.data, split=config.val_split)
        check_same_classes(self.train_data, self.val_data)
        self.teacher = load_trained(config.teacher) if config.teacher else None
        self.recipe = self.make_recipe()
        self.net = parts.make_net(config, self.train_data.channels, len(self.train_data.classes))
        if config.init:
            self.start_from(config.init)
        if config.sparsity:
            parts.prune(self.net, config.sparsity)
        self.frozen = parts.frozen_prefixes(config, self.net)
        trained = [p for name, p in self.net.named_parameters() if not name.startswith(self.frozen or ("\0",))]
        if not trained:
            raise ValueError(f"freeze {config.freeze!r} leaves nothing to train")
        self.criterion = parts.make_loss(config, self.train_data)
        self.imitation = losses.DistillationLoss(config.temperature) if self.teacher else None
        train_transform, val_transform = parts.make_transforms(config, self.recipe.mean, self.recipe.std)
        loader = {"workers": config.workers, "rng": config.seed}
        self.loader = data.DataLoader(
            self.train_data,
            min(config.batch_size, len(self.train_data)),
            shuffle=True,
            transform=train_transform,
            drop_last=True,
            balanced=config.balanced,
            **loader,
        )
        self.val_loader = data.DataLoader(self.val_data, 1, transform=val_transform, **loader)
        self.optimizer = parts.make_optimizer(config, trained)
        self.schedule = parts.make_schedule(config, self.optimizer, config.epochs * len(self.loader))
        self.epoch, self.batch, self.step = 1, 0, 0  # of the step that comes next; epochs count from 1
        self.loss_sum, self.seconds = 0.0, 0.0  # of this epoch so far
        self.history, self.best, self.best_epoch = [], -math.inf, 0

    def make_recipe(self):
        """What prediction needs to know besides the weights."""
        mean, std = (0.0,) * self.train_data.channels, (1.0,) * self.train_data.channels
        if self.teacher:  # both nets see the same numbers
            check_same_classes(self.teacher.recipe, self.train_data)
            mean, std = self.teacher.recipe.mean, self.teacher.recipe.std
        elif self.config.normalise == "dataset":
            mean, std = (tuple(map(float, values)) for values in data.statistics(self.train_data, limit=200))
        return Recipe.of(self.config, self.train_data, mean, std)

    def start_from(self, path):
        """Take over the weights of a checkpoint that fit."""
        found = checkpoint.restore(checkpoint.load(path), self.net, strict=False)
        anew = [*found.missing, *found.reshaped]
        rest = f", but {', '.join(anew[:4])} ({len(anew)} in all) start anew" if anew else ""
        self.say(f"{path} taken over{rest}")

    # ------------------------------------------------------------------ the run

    def run(self, requested):
        """All epochs that are left; `requested()` says whether a signal asks to stop."""
        total = self.config.epochs * len(self.loader)
        with tqdm(total=total, initial=self.step, unit="step", disable=self.quiet or None, dynamic_ncols=True) as bar:
            self.bar = bar
            bad = 0
            for row in reversed(self.history):  # validations since the best one, also of a resumed run
                if row["epoch"] <= self.best_epoch:
                    break
                bad += row["val_miou"] == row["val_miou"]
            while self.epoch <= self.config.epochs and not (0 < self.config.patience <= bad):
                self.train_epoch(requested)
                if self.is_validation():
                    bad = 0 if self.validate() else bad + 1
                else:
                    self.note_epoch({})
                self.epoch, self.batch, self.loss_sum, self.seconds = self.epoch + 1, 0, 0.0, 0.0
                self.save(self.folder.last)
                self.write_pictures()
        self.finish()
        return Result(self.folder.path, self.best, self.best_epoch, self.history)

    def is_validation(self):
        return self.epoch % self.config.val_every == 0 or self.epoch == self.config.epochs

    def train_epoch(self, requested):
        """The rest of this epoch's steps."""
        self.net.train()
        for name, layer in self.net.named_layers():
            if self.frozen and f"{name}.".startswith(self.frozen):
                layer.training = False  # running statistics are frozen with the weights
        batches = self.loader.batches(self.epoch, start=self.batch)
        with contextlib.closing(batches):
            while True:
                start = time.perf_counter()
                batch = next(batches, None)
                if batch is None:
                    return
                loss = self.train_step(batch.images, batch.targets)
                self.seconds += time.perf_counter() - start
                self.loss_sum += loss
                self.batch, self.step = self.batch + 1, self.step + 1
                self.show(loss)
                if requested():
                    self.save(self.folder.last)
                    raise Interrupted(requested(), self.folder.last)

    def train_step(self, images, targets):
        """Forward, loss, backward, update; returns the loss."""
        config = self.config
        self.net.zero_grad()
        scores, saved = self.net.forward(images)
        loss, loss_saved = self.criterion.forward(scores, targets)
        dscores = self.criterion.backward(loss_saved, 1 - config.teacher_share if self.teacher else 1.0)
        if self.teacher:
            imitation, imitation_saved = self.imitation.forward(scores, self.teacher.net(images))
            loss = (1 - config.teacher_share) * loss + config.teacher_share * imitation
            dscores = dscores + self.imitation.backward(imitation_saved, config.teacher_share)
        if not math.isfinite(loss):
            good = self.folder.last if self.folder.last.exists() else "the beginning"
            raise TrainingError(
                f"the loss is {loss} at step {self.step + 1} (epoch {self.epoch}); nothing was saved of it, the last "
                f"good state is {good}; try a lower --lr, --warmup or --clip 1"
            )
        self.net.backward(dscores, saved)
        if config.l1:
            for _, p in parts.prunable(self.net):
                p.grad = p.grad + p.dtype.type(config.l1) * np.sign(p.value)
        if config.clip:
            optim.clip_grad_norm(self.optimizer.params, config.clip)
        masks = [(p, p.value != 0) for _, p in parts.prunable(self.net)] if config.sparsity else []
        self.optimizer.step()
        for p, mask in masks:  # what was pruned stays pruned
            p.value *= mask
        if config.schedule != "plateau":
            self.schedule.step()
        return loss

    def validate(self):
        """Measure on the validation data; returns whether it is the best so far, which is then saved."""
        start = time.perf_counter()
        self.bar.set_description(f"epoch {self.epoch}: validating")
        confusion, loss = evaluate(self.net, self.val_loader, len(self.recipe.classes), self.criterion)
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
        better = miou > self.best
        if better:
            self.best, self.best_epoch = miou, self.epoch
            self.save(self.folder.best)
        if not self.quiet:
            self.bar.write(
                f"epoch {self.epoch:3d}   loss {self.history[-1]['train_loss']:.3f}   val loss {loss:.3f}   "
                f"mIoU {miou:.3f}{' *' if better else '  '}   accuracy {confusion.accuracy():.3f}   "
                f"{self.seconds:.0f} + {time.perf_counter() - start:.0f} s"
            )
        return better

    def note_epoch(self, measured):
        """A row of metrics.csv."""
        unknown = dict.fromkeys(MEASURES, math.nan)
        batches = max(1, self.batch)
        self.history.append(
            {"epoch": self.epoch, "step": self.step, "lr": self.optimizer.lr, "train_loss": self.loss_sum / batches}
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
            self.folder.note_step(step=self.step, epoch=self.epoch, loss=loss, lr=self.optimizer.lr)
        self.bar.update()
        rate = self.batch * self.loader.batch_size / max(self.seconds, 1e-9)
        best = f" mIoU {self.best:.3f}" if self.best_epoch else ""
        self.bar.set_description(f"epoch {self.epoch}/{self.config.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {self.loss_sum / self.batch:.3f}{best} {rate:.1f} images/s", refresh=False)

    # ------------------------------------------------------------------ pictures and the end

    def write_pictures(self):
        """Curves, and every few epochs a panel."""
        from .. import charts

        charts.curves(self.history, self.folder.curves)
        every = self.config.panels_every
        if self.train_data.kind == "segmentation" and every and (self.epoch - 1) % every == 0:
            self.write_panel(self.folder.panels / f"epoch-{self.epoch - 1:04d}.png")

    def write_panel(self, path):
        from .. import pictures

        rows = panel_rows(self.net, self.val_data, self.val_loader.transform, PANEL)
        pictures.panel(rows, self.recipe.colours, self.recipe.classes, path)

    def finish(self):
        """The best net's confusion matrix, class table and panel, and the report."""
        from .. import charts, report

        best = load_trained(self.folder.best) if self.folder.best.exists() else None
        if best is None:
            return  # not one validation
        self.net = best.net
        confusion, _ = evaluate(best.net, self.val_loader, len(self.recipe.classes))
        charts.confusion(confusion.matrix, self.recipe.classes, self.folder.confusion)
        self.folder.write_classes(self.recipe.classes, confusion)
        if self.train_data.kind == "segmentation":
            self.write_panel(self.folder.panels / "best.png")
        report.write_report(self.folder.path)
        self.say(f"\nbest: epoch {self.best_epoch}, mIoU {self.best:.3f}\n{confusion.table(self.recipe.classes)}")
        self.say(f"\n{self.folder.report} shows all of it.")

    def say(self, text):
        if not self.quiet:
            print(text, file=sys.stdout, flush=True)

    # ------------------------------------------------------------------ checkpoints

    def save(self, path):
        """Everything that the next step depends on, in one file."""
        state = {name: getattr(self, name) for name in ("epoch", "batch", "step", "loss_sum", "seconds")}
        state |= {"history": self.history, "best": self.best, "best_epoch": self.best_epoch}
        saved_config = {"config": self.config.as_dict(), "recipe": self.recipe.as_dict()}
        checkpoint.save(path, self.net, self.optimizer, self.schedule, state, saved_config)

    def resume(self):
        """Go on where `last` was saved."""
        found = checkpoint.load(self.folder.last)
        checkpoint.restore(found, self.net, self.optimizer, self.schedule)
        for name, value in found.state.items():
            setattr(self, name, value)
        self.folder.cut_steps(self.step)
        self.say(f"{self.folder.last}: going on with epoch {self.epoch}, step {self.step + 1}")


def check_same_classes(a, b):
    if len(a.classes) != len(b.classes) or a.channels != b.channels:
        raise ValueError(
            f"{a.name} has {len(a.classes)} classes and {a.channels} channels, {b.name} has {len(b.classes)} and "
            f"{b.channels}; they must agree"
        )


@contextlib.contextmanager
def stop_requests():
    """Within the block Ctrl-C and SIGTERM only ask to stop: the function that comes back gives the signal's number.

    The second one is not held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    asked, before = [], {}

    def ask(number, frame):
        asked.append(number)
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, ask)
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
