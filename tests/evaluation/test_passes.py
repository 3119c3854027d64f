"""How models are measured: on the run's own threads."""

import torch
from threadpoolctl import threadpool_info

from inforeg_cli.evaluation.passes import threads_of
from inforeg_cli.resolve import resolve


def test_a_run_is_measured_on_as_many_threads_as_it_was_trained_on(make_store):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with threads_of(resolve({"threads": 1}, make_store())):
            assert torch.get_num_threads() == 1
            assert {library["num_threads"] for library in threadpool_info()} == {1}
        assert torch.get_num_threads() == 2
        with threads_of(resolve({}, make_store())):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
