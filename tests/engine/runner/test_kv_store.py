import torch

from engine.models.sizes import kv_bytes_per_token
from engine.runner.kv_store import KVStore
from tests.support.configs import small_config


def test_a_cache_in_fp8_takes_a_byte_a_value() -> None:
    config = small_config()
    kv = KVStore(config, 5, 4, torch.float8_e4m3fn, torch.device("cpu"))
    assert kv.bytes == 5 * 4 * kv_bytes_per_token(config, 1)
    assert not kv.layer(1).float().any()


def test_layers_are_separate_views_of_the_planned_size() -> None:
    config = small_config()
    kv = KVStore(config, 5, 4, torch.bfloat16, torch.device("cpu"))
    assert kv.bytes == 5 * 4 * kv_bytes_per_token(config, 2)
    for index in range(config.num_hidden_layers):
        assert kv.layer(index).shape == (5, 4, config.attention.cached)
        assert kv.layer(index).is_contiguous()
        assert not kv.layer(index).any()
        kv.layer(index).fill_(index + 1)
    assert [kv.layer(index).unique().tolist() for index in range(config.num_hidden_layers)] == [[1], [2], [3]]
