import pytest
import torch

from datamodules.loader import BatchLoader


def arrays(n):
    """Samples that carry their own number, in x and in y."""
    y = torch.arange(n)
    return torch.stack([y, -y], 1).float(), y


def order_of(loader):
    return torch.cat([y for _, y in loader]).tolist()


@pytest.mark.parametrize("shuffle_seed", [None, 5])
@pytest.mark.parametrize(("n", "batch_size"), [(100, 32), (96, 32), (97, 32), (5, 32), (1, 32), (10, 1)])
def test_an_epoch_has_every_sample_once_with_its_target(n, batch_size, shuffle_seed):
    loader = BatchLoader(*arrays(n), batch_size, shuffle_seed=shuffle_seed)
    batches = list(loader)
    assert len(batches) == len(loader)
    assert sorted(torch.cat([y for _, y in batches]).tolist()) == list(range(n))
    assert all(torch.equal(x[:, 0], y.float()) for x, y in batches)


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(100, 32, [32, 32, 32, 4]), (97, 32, [32, 32, 33]), (98, 32, [32, 32, 32, 2]), (5, 32, [5]), (1, 32, [1])],
)
def test_a_last_batch_of_one_joins_the_one_before(n, batch_size, sizes):
    assert [len(y) for _, y in BatchLoader(*arrays(n), batch_size)] == sizes


def test_without_shuffling_the_order_stays():
    loader = BatchLoader(*arrays(50), 8)
    assert order_of(loader) == order_of(loader) == list(range(50))


def test_each_epoch_is_shuffled_anew_and_a_seed_gives_the_same_epochs_again():
    loader, twin, other = (BatchLoader(*arrays(50), 8, shuffle_seed=seed) for seed in (5, 5, 6))
    epochs = [order_of(loader) for _ in range(3)]
    torch.rand(100)  # other work must not matter
    assert epochs == [order_of(twin) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != order_of(other)


def test_any_epoch_can_be_had_by_itself():
    loader, late = (BatchLoader(*arrays(50), 8, shuffle_seed=5) for _ in range(2))
    epochs = [order_of(loader) for _ in range(4)]
    late.epoch = 3
    assert order_of(late) == epochs[3]


@pytest.mark.parametrize("shuffle_seed", [None, 5])
@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("n", [100, 97, 65, 7])
def test_ranks_are_disjoint_and_cover_every_sample_once_without_padding(n, world_size, shuffle_seed):
    loaders = [
        BatchLoader(*arrays(n), 32, shuffle_seed=shuffle_seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert len({len(loader) for loader in loaders}) == 1  # else one rank would wait for the other for ever
    shares = [order_of(loader) for loader in loaders]
    assert sorted(sample for share in shares for sample in share) == list(range(n))


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("n", [97, 98, 99, 100, 102])  # of a last batch of 1, which joins, to 6
def test_ranks_together_see_the_batches_that_one_would_see(n, world_size):
    alone = [y.tolist() for _, y in BatchLoader(*arrays(n), 32, shuffle_seed=5)]
    ranks = [BatchLoader(*arrays(n), 32, shuffle_seed=5, rank=r, world_size=world_size) for r in range(world_size)]
    batches = 0
    for batch, *parts in zip(alone, *ranks, strict=True):
        assert sorted(sample for _, y in parts for sample in y.tolist()) == sorted(batch)
        assert all(loader.targets(batches).tolist() == batch for loader in ranks)
        batches += 1
    assert batches == len(alone)


@pytest.mark.parametrize("n", range(60, 72))
def test_with_batch_norm_every_rank_has_two_samples_in_every_batch(n):
    options = {"shuffle_seed": 0, "world_size": 2, "batch_norm": True}
    ranks = [BatchLoader(*arrays(n), 16, rank=rank, **options) for rank in range(2)]
    assert min(len(y) for loader in ranks for _, y in loader) >= 2
    assert sorted(sample for loader in ranks for sample in order_of(loader)) == list(range(n))


def test_without_batch_norm_a_last_share_may_be_empty():
    ranks = [BatchLoader(*arrays(98), 32, shuffle_seed=0, rank=rank, world_size=3) for rank in range(3)]
    assert [len(list(loader)[-1][1]) for loader in ranks] == [1, 1, 0]


def test_the_transform_gets_each_batch_and_draws_that_depend_on_seed_and_epoch_alone():
    def noise(x, generator):
        return x + torch.rand(x.shape, generator=generator)

    def epochs(seed):
        loader = BatchLoader(*arrays(20), 8, shuffle_seed=seed, transform=noise)
        return [torch.cat([x[y.argsort()] for x, y in loader]) for _ in range(2)]

    first, again, other = epochs(1), epochs(1), epochs(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("world_size", [2, 3])
def test_each_sample_is_augmented_as_in_one_process(world_size):
    def noise(x, generator):
        return x + torch.rand(x.shape, generator=generator)

    def augmented(**options):
        return {
            int(y): row.tolist()
            for x, ys in BatchLoader(*arrays(50), 8, **options)
            for y, row in zip(ys, x, strict=True)
        }

    options = {"shuffle_seed": 3, "transform": noise}
    ranks = [augmented(**options, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {sample: row for share in ranks for sample, row in share.items()} == augmented(**options)
