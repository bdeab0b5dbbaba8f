"""Ours beside llama.cpp, vLLM and transformers, in one run: make bench-peers PEERS=FOLDER

Starts one server after another, puts the same cases to each over HTTP, and prints docs/performance.md's tables. What
is not in FOLDER is left out and said so. It takes half an hour, and the machine must do nothing else: a case during
which others took more than a tenth of it is measured once more, and the progress says so if it stays so. Each result is
kept in FOLDER/results.jsonl as it comes.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers.cases import CASES, Result, Texts, run_case
from benchmarks.peers.machine import Foreign, wait_until_quiet
from benchmarks.peers.report import comparison, figure, limits
from benchmarks.peers.servers import URL, Running, Server, all_servers
from engine.doctor import read_bandwidth
from server.commands.load import LoadClient

FOREIGN = 0.1


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server in turn is ended, too
    results: dict[tuple[str, str, str], Result] = {}
    bandwidths = [read_bandwidth()]
    for server in all_servers(options.folder.resolve()):
        if options.only and not any(word in server.name for word in options.only):
            continue
        if server.missing is not None:
            print(f"{server.name}: left out, there is no {server.missing}", flush=True)
            continue
        try:
            running = Running(server, options.folder / f"{server.name.replace(' ', '-')}.log", options.patience)
        except TimeoutError as error:
            print(error, flush=True)
            continue
        print(f"{server.name}: ready after {running.seconds:.1f} s", flush=True)
        try:
            for case in server.cases:
                results[server.group, server.engine, case] = _measure(server, running, case, options)
        finally:
            running.stop()
        bandwidths.append(read_bandwidth())
    print(f"\n{comparison(results)}\n\n{limits(options.folder, results, max(bandwidths))}")
    print("memory over the run, GB/s: " + " ".join(f"{value / 1e9:.1f}" for value in bandwidths))


def _measure(server: Server, running: Running, case: str, options: argparse.Namespace) -> Result:
    """The quieter of at most two tries."""
    tries: list[tuple[float, Result]] = []
    while not tries or (tries[-1][0] > FOREIGN and len(tries) < 2):
        wait_until_quiet(options.quiet)
        foreign = Foreign(running.session)
        texts = Texts(str(options.folder / "ckpt" / "tokenizer" / "tokenizer.json"), time.time_ns())
        client = LoadClient(URL, None, "completions")
        result = asyncio.run(run_case(client, {"model": server.model, **server.fields}, CASES[case], texts))
        tries.append((foreign.share(), result))
    share, result = min(tries, key=lambda one: one[0])
    value = figure(case, result)
    note = f", {result.errors} errors: {result.example}" if result.errors else ""
    busy = f", others took {share:.0%}" if share > FOREIGN else ""
    print(f"  {case}: {'nothing' if value is None else f'{value:.1f}'}{note}{busy}", flush=True)
    with (options.folder / "results.jsonl").open("a") as file:
        row = {"server": server.name, "case": case, "foreign": share, **asdict(result)}
        file.write(json.dumps(row) + "\n")
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="what docs/performance.md builds")
    parser.add_argument("--only", nargs="*", default=[], help="servers whose names hold one of these")
    parser.add_argument("--quiet", type=float, default=60, help="seconds to wait for a quiet machine before a case")
    parser.add_argument("--patience", type=float, default=400, help="seconds to wait for a server")
    return parser.parse_args()


if __name__ == "__main__":
    main()
