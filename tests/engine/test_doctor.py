"""What is read of the machine."""

from pathlib import Path

from engine.doctor import numa_nodes


def test_numa_nodes_are_listed_with_what_they_have(tmp_path: Path) -> None:
    for number, processors in ((0, "0-7,16-23"), (1, "8-15"), (10, "")):
        node = tmp_path / f"node{number}"
        node.mkdir()
        (node / "cpulist").write_text(processors + "\n")
        (node / "meminfo").write_text(
            f"Node {number} MemTotal:  {(number + 1) * 2**20} kB\nNode {number} MemFree: 5 kB\n"
        )
    (tmp_path / "node1" / "meminfo").unlink()
    (tmp_path / "possible").write_text("0-10")
    assert numa_nodes(tmp_path).splitlines() == [
        "node0: processors 0-7,16-23, 1.0 GiB",
        "node1: processors 8-15, memory unknown",
        "node10: processors none, 11.0 GiB",
    ]
    assert numa_nodes(tmp_path / "nothing") == "unknown"
