"""DataLoader: a data set as batches, epoch after epoch, in an order that a seed decides."""

from collections import Counter

import numpy as np

from ..core import as_rng, check_int
from .dataset import VOID, DataError
from .samples import Batch, Source, name_of, naming
from .transforms import ToArray
from .workers import WorkerError, made_ahead

__all__ = ["Batch", "DataLoader", "WorkerError"]


class DataLoader:
    """Batches of a data set, made beforehand while the training computes.

        for batch in loader:                         the next epoch, 0 at first
            batch.images, batch.targets, batch.indices
        for batch in loader.batches(7, start=120):   epoch 7 from batch 120 on, to resume in the middle

    Parameters
        dataset: a sequence of (image, mask), as `data.open` gives it; `names`, if it has them, are used in messages
        batch_size: samples in a batch; the last one of an epoch has what is left, which may be one sample
        shuffle: a new order in each epoch
        workers: 0 for a thread of this process, n for n processes. The thread is enough where reading and transforming
            take less time than the training; processes cost their start (about half a second, in each epoch)
        rng: seed of order and transforms; a Generator gives one number for it, None an unpredictable one
        transform: called as transform(image, mask, rng), see `minisegnet.data.transforms`; a picture that comes out of
            it as uint8 also goes through ToArray(), which is all that happens without a transform
        drop_last: leave out the last batch if it isn't whole
        balanced: draw the samples of an epoch at random with replacement, so that each class is as likely as any
            other (below); `shuffle` then makes no difference
        prefetch: how many batches are kept ready, at least 1; each process has one more

    Determinism: sample i of epoch e is transformed with a Generator seeded by (seed, e, i), and the order with one
    seeded by (seed, e). So neither workers, prefetch nor the batch at which a run was resumed change anything.

    Balanced: choose one of the K classes that occur in the data set, each with the same probability, then one of the
    n(c) samples that contain it, each with the same probability. Sample i thus has the probability

        p(i) = 1/K · Σ 1/n(c)   over the classes c in sample i

    and pictures with rare classes come more often. An epoch is as long as without. All masks are read once, before
    the first batch. A sample that is all void is never drawn.
    Source: Shen et al., Relay backpropagation (2016), "class-aware sampling".

    Raises TypeError or ValueError for bad arguments. While iterating: DataError with the sample's name for whatever
    goes wrong with it, ShapeError for samples that don't fit into one batch, WorkerError if a process dies. No thread
    and no process is left over when the loop has ended, in whatever way.

    >>> dataset = [(np.full((2, 2, 1), 51 * i, np.uint8), np.full((2, 2), i)) for i in range(5)]
    >>> loader = DataLoader(dataset, batch_size=2, shuffle=True, rng=0)
    >>> [batch.indices for batch in loader], [batch.indices for batch in loader]
    ([(2, 4), (3, 0), (1,)], [(1, 4), (3, 0), (2,)])
    >>> images, targets, indices = next(loader.batches(epoch=1, start=1))
    >>> images.shape, images[:, 0, 0, 0], targets.shape, indices
    ((2, 1, 2, 2), array([0.6, 0. ], dtype=float32), (2, 2, 2), (3, 0))
    """

    def __init__(
        self,
        dataset,
        batch_size,
        shuffle=False,
        workers=0,
        rng=0,
        transform=None,
        drop_last=False,
        balanced=False,
        prefetch=2,
    ):
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: the data set must have a length and samples dataset[i], got {dataset!r}")
        if transform is not None and (not callable(transform) or isinstance(transform, type)):
            raise TypeError(f"DataLoader: transform must be called as t(image, mask, rng), got {transform!r}")
        self.dataset = dataset
        self.batch_size = check_int("DataLoader: batch_size", batch_size)
        self.workers = check_int("DataLoader: workers", workers, 0)
        self.prefetch = check_int("DataLoader: prefetch", prefetch)
        self.transform = ToArray() if transform is None else transform
        self.shuffle, self.drop_last, self.balanced = bool(shuffle), bool(drop_last), bool(balanced)
        self.seed = seed_of(rng)
        self.epoch = 0  # of the next iter()
        self._probabilities = None  # of the samples, if balanced; from the first epoch on
        if not len(dataset):
            raise ValueError("DataLoader: the data set has no samples")
        if not len(self):
            raise ValueError(
                f"DataLoader: {len(dataset)} samples don't fill one batch of {batch_size}, and drop_last leaves out "
                f"the rest; use a smaller batch_size or drop_last=False"
            )

    def __len__(self):
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self):
        """The batches of the next epoch."""
        self.epoch += 1
        return self.batches(self.epoch - 1)

    def batches(self, epoch, start=0):
        """The batches of an epoch, from batch `start` on; `start` may be len(loader), and then there are none."""
        epoch, start = check_int("DataLoader: epoch", epoch, 0), check_int("DataLoader: start", start, 0)
        if start > len(self):
            raise ValueError(f"DataLoader: start must be at most {len(self)}, the batches of an epoch, got {start}")
        source = Source(self.dataset, self.transform, self.seed)
        return made_ahead(source, epoch, self.plan(epoch)[start:], self.workers, self.prefetch)

    def plan(self, epoch):
        """The samples of each batch of an epoch, as (index, repeat): how often it has come before in this epoch."""
        before = Counter()
        samples = []
        for i in self.order(epoch).tolist():
            samples.append((i, before[i]))
            before[i] += 1
        return [samples[k * self.batch_size : (k + 1) * self.batch_size] for k in range(len(self))]

    def order(self, epoch):
        """The indices of an epoch's samples, in the order in which they come."""
        count, rng = len(self.dataset), np.random.default_rng([self.seed, epoch])
        if self.balanced:
            if self._probabilities is None:
                self._probabilities = class_aware(classes_in(self.dataset))
            return rng.choice(count, count, p=self._probabilities)
        return rng.permutation(count) if self.shuffle else np.arange(count)


def seed_of(rng):
    """The seed itself, or a number drawn from a Generator."""
    generator = as_rng(rng)  # raises unless it is one of the two, or None
    return int(rng) if isinstance(rng, (int, np.integer)) else int(generator.integers(2**63))


def classes_in(dataset):
    """For each sample the list of the classes that it contains, without void."""
    found = []
    for i in range(len(dataset)):
        with naming(dataset, i):
            mask = dataset.mask(i) if hasattr(dataset, "mask") else dataset[i][1]  # without the picture, if possible
            if mask is None:
                raise DataError(name_of(dataset, i), "there is no mask, and balanced=True needs all of them")
            present = np.flatnonzero(np.bincount(np.ravel(mask)))
        found.append(present[present != VOID].tolist())
    return found


def class_aware(classes):
    """The probability of each sample, p(i) = 1/K · Σ 1/n(c) over its classes c; n(c) samples contain c.

    >>> class_aware([[0], [0], [0, 1]]).round(3)  # class 1 is in the last one only
    array([0.167, 0.167, 0.667])
    """
    containing = Counter(c for present in classes for c in present)
    if not containing:
        raise ValueError("DataLoader: balanced=True needs classes, but all pixels of all masks are void")
    shares = [sum(1 / containing[c] for c in present) for present in classes]
    return np.array(shares) / sum(shares)
