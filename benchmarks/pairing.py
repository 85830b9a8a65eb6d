# SPDX-License-Identifier: Apache-2.0
"""Holds our pairing of two live streams against trying all, beside message_filters' ApproximateTimeSynchronizer.

Stamps have a jitter of +-15 ms, a tenth of the messages is lost, and each is on its way for up to 20 ms, so that a
stream does not arrive in its order. All see the same arrivals. *Not the best*: the share of a matcher's pairs that
trying all does not give (the closest of all candidates first, each message once). *Waits*: from the arrival of a pair's
later member until our matcher gives it out, median. The speed is that of handling messages that exist already, in
turns, the fastest of several rounds; message_filters has queues of 10. At last both streams jump back and begin anew.

    python benchmarks/pairing.py [--seconds 60] [--rounds 7]

The last line on stdout is JSON; its top-level figures are those of 20 and 30 Hz with a slop of 25 ms.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import message_filters
import numpy as np
from builtin_interfaces.msg import Time
from rich.console import Console
from rich.table import Table

from radio_visual_ssl.bags.pairing import IMAGE, RADAR, PairMatcher, match_stamps

MS = 1_000_000
SECOND = 1_000_000_000
RATES = ((20.0, 30.0), (30.0, 30.0), (10.0, 60.0), (20.0, 20.01), (4.0, 15.0))
SLOPS_MS = (17, 25, 50)
HEADLINE = ((20.0, 30.0), 25)
JITTER_MS = 15.0
LOSS = 0.1
DELAY_MS = 20.0
QUEUE = 10

Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Arrivals:
    """Messages of two streams in the order of their arrival.

    Attributes:
        streams: which stream each belongs to.
        stamps: ns.
        times: ns, of arrival.
    """

    streams: list[int]
    stamps: list[int]
    times: list[int]

    @classmethod
    def simulate(cls, rates: tuple[float, float], seconds: float, seed: int = 0) -> 'Arrivals':
        """Two sensors with jitter, losses and delays."""
        rng = np.random.default_rng(seed)
        found = []
        for stream, rate in enumerate(rates):
            count = int(seconds * rate)
            stamps = 1e3 + (np.arange(count) + rng.random()) / rate + rng.uniform(-JITTER_MS, JITTER_MS, count) / 1e3
            stamps = stamps[rng.random(count) >= LOSS]
            times = stamps + rng.uniform(0, DELAY_MS, stamps.size) / 1e3
            found += [(round(t * 1e9), stream, round(stamp * 1e9)) for t, stamp in zip(times, stamps, strict=True)]
        arrived, streams, taken = zip(*sorted(found), strict=True)
        return cls(list(streams), list(taken), list(arrived))

    def of(self, stream: int) -> list[int]:
        """Stamps of one stream, ascending."""
        return sorted(stamp for which, stamp in zip(self.streams, self.stamps, strict=True) if which == stream)


def exhaustive(radar: list[int], image: list[int], slop_ns: int) -> set[tuple[int, int]]:
    """Pairs of stamps by trying all: every candidate there is, the closest first."""
    distance = np.abs(np.subtract.outer(np.array(radar), np.array(image)))
    rows, columns = np.nonzero(distance <= slop_ns)
    candidates = sorted(zip(distance[rows, columns].tolist(), rows.tolist(), columns.tolist(), strict=True))
    pairs, radars, images = set(), set(), set()
    for _, row, column in candidates:
        if row not in radars and column not in images:
            radars.add(row)
            images.add(column)
            pairs.add((radar[row], image[column]))
    return pairs


def run_ours(arrivals: Arrivals, slop_ns: int) -> tuple[Pairs, list[int]]:
    """Pairs of stamps, and how long after the arrival of the later member each came, ns."""
    matcher: PairMatcher[int] = PairMatcher(slop_ns, reordering_ns=round(DELAY_MS * MS))
    pairs, waits = [], []
    for stream, stamp, now in zip(arrivals.streams, arrivals.stamps, arrivals.times, strict=True):
        for pair in matcher.add(stream, stamp, now).pairs:
            pairs.append((pair.radar_stamp_ns, pair.image_stamp_ns))
            waits.append(now - max(pair.radar, pair.image))
    pairs += [(pair.radar_stamp_ns, pair.image_stamp_ns) for pair in matcher.flush().pairs]
    return pairs, waits


def run_message_filters(arrivals: Arrivals, slop_ns: int) -> Pairs:
    """Pairs of stamps that the ApproximateTimeSynchronizer gives."""
    handle, pairs = prepare_message_filters(arrivals, slop_ns)
    handle()
    return pairs


def prepare_message_filters(arrivals: Arrivals, slop_ns: int) -> tuple[Callable[[], None], Pairs]:
    """Function that hands all messages over, and the list that it fills."""
    inputs = [message_filters.SimpleFilter(), message_filters.SimpleFilter()]
    synchronizer = message_filters.ApproximateTimeSynchronizer(inputs, QUEUE, slop_ns / 1e9)
    pairs: Pairs = []
    synchronizer.registerCallback(lambda radar, image: pairs.append((radar.stamp_ns, image.stamp_ns)))
    waiting = [
        (inputs[stream].signalMessage, SimpleNamespace(header=SimpleNamespace(stamp=_time(stamp)), stamp_ns=stamp))
        for stream, stamp in zip(arrivals.streams, arrivals.stamps, strict=True)
    ]

    def handle() -> None:
        for signal, message in waiting:
            signal(message)

    return handle, pairs


def prepare_ours(arrivals: Arrivals, slop_ns: int) -> Callable[[], None]:
    """Function that hands all messages over."""
    matcher: PairMatcher[int] = PairMatcher(slop_ns, reordering_ns=round(DELAY_MS * MS))
    waiting = list(zip(arrivals.streams, arrivals.stamps, strict=True))
    pairs: Pairs = []

    def handle() -> None:
        for stream, stamp in waiting:
            for pair in matcher.add(stream, stamp, stamp).pairs:
                pairs.append((pair.radar_stamp_ns, pair.image_stamp_ns))

    return handle


def messages_per_second(arrivals: Arrivals, slop_ns: int, rounds: int) -> tuple[float, float]:
    """Of our matcher and of message_filters, in turns."""
    best = [float('inf'), float('inf')]
    for _ in range(rounds):
        turns = (prepare_ours(arrivals, slop_ns), prepare_message_filters(arrivals, slop_ns)[0])
        for which, handle in enumerate(turns):
            start = time.perf_counter()
            handle()
            best[which] = min(best[which], time.perf_counter() - start)
    return len(arrivals.stamps) / best[0], len(arrivals.stamps) / best[1]


def pairs_after_jump(rates: tuple[float, float], slop_ns: int, seconds: float = 10.0) -> tuple[int, int, int]:
    """Pairs of a stretch that is played twice: in each turn, and in the second one by ours and by message_filters."""
    once = Arrivals.simulate(rates, seconds)
    twice = Arrivals(once.streams * 2, once.stamps * 2, once.times * 2)
    first, both = ((run_ours(x, slop_ns)[0], run_message_filters(x, slop_ns)) for x in (once, twice))
    return len(first[0]), len(both[0]) - len(first[0]), len(both[1]) - len(first[1])


def _time(stamp_ns: int) -> Time:
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    return Time(sec=seconds, nanosec=nanoseconds)


def not_best_percent(pairs: Pairs, best: set[tuple[int, int]]) -> float:
    """Share of pairs that trying all does not give."""
    return 100 * sum(pair not in best for pair in pairs) / max(len(pairs), 1)


def mean_difference_ms(pairs: Pairs) -> float:
    """Mean distance of the members of a pair."""
    return float(np.mean([abs(image - radar) for radar, image in pairs])) / MS if pairs else 0.0


def run_case(rates: tuple[float, float], slop_ms: int, seconds: float, rounds: int) -> dict[str, float | int]:
    """All figures of one pair of rates and one slop.

    Raises:
        SystemExit: our matcher, live or offline, does not give what trying all gives.
    """
    slop_ns = slop_ms * MS
    arrivals = Arrivals.simulate(rates, seconds)
    radar, image = arrivals.of(RADAR), arrivals.of(IMAGE)
    best = exhaustive(radar, image, slop_ns)
    ours, waits = run_ours(arrivals, slop_ns)
    theirs = run_message_filters(arrivals, slop_ns)
    radars, images = match_stamps(np.array(radar), np.array(image), slop_ns)
    offline = {(radar[r], image[i]) for r, i in zip(radars, images, strict=True)}
    if set(ours) != best or offline != best or len(ours) != len(best):
        missing = len(best - set(ours)), len(best - offline)
        raise SystemExit(f'{rates} Hz, slop {slop_ms} ms: expected all {len(best)} best pairs, missing are {missing}')
    our_speed, their_speed = messages_per_second(arrivals, slop_ns, rounds)
    return {
        'radar_hz': rates[RADAR],
        'image_hz': rates[IMAGE],
        'slop_ms': slop_ms,
        'pairs_best': len(best),
        'pairs': len(ours),
        'pairs_message_filters': len(theirs),
        'not_best_percent': round(not_best_percent(ours, best), 2),
        'not_best_percent_message_filters': round(not_best_percent(theirs, best), 2),
        'difference_ms': round(mean_difference_ms(ours), 2),
        'difference_ms_message_filters': round(mean_difference_ms(theirs), 2),
        'wait_ms': round(float(np.median(waits)) / MS, 1),
        'wait_p99_ms': round(float(np.percentile(waits, 99)) / MS, 1),
        'messages_per_s': round(our_speed),
        'speedup_message_filters': round(our_speed / their_speed, 2),
    }


def main() -> None:
    """Run all cases, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=float, default=60.0, help='length of the simulated streams')
    parser.add_argument('--rounds', type=int, default=7, help='turns of each contestant')
    arguments = parser.parse_args()
    cases = {
        (rates, slop): run_case(rates, slop, arguments.seconds, arguments.rounds)
        for rates in RATES
        for slop in SLOPS_MS
    }
    jump = pairs_after_jump(HEADLINE[0], HEADLINE[1] * MS)
    synchronizer = message_filters.ApproximateTimeSynchronizer
    table = Table(
        title=f'jitter +-{JITTER_MS:g} ms, {LOSS:.0%} lost, delays up to {DELAY_MS:g} ms', title_justify='left'
    )
    columns = ('rates (Hz)', 'slop (ms)', 'best pairs', 'ours', 'theirs', 'not the best: ours', 'theirs')
    for column in (*columns, 'mean |dt| (ms): ours', 'theirs', 'waits (ms)', 'p99', 'ours / theirs, messages/s'):
        table.add_column(column, justify='right')
    for (rates, slop), case in cases.items():
        table.add_row(
            f'{rates[RADAR]:g} / {rates[IMAGE]:g}',
            f'{slop}',
            f'{case["pairs_best"]}',
            f'{case["pairs"]}',
            f'{case["pairs_message_filters"]}',
            f'{case["not_best_percent"]:.1f} %',
            f'{case["not_best_percent_message_filters"]:.1f} %',
            f'{case["difference_ms"]:.1f}',
            f'{case["difference_ms_message_filters"]:.1f}',
            f'{case["wait_ms"]:.0f}',
            f'{case["wait_p99_ms"]:.0f}',
            f'{case["speedup_message_filters"]:.2f}',
        )
    console = Console(width=150)
    console.print(table)
    console.print(f'theirs: {synchronizer.__module__}.{synchronizer.__name__}, queues of {QUEUE}')
    console.print(
        f'of {jump[0]} pairs after both streams jumped back (a looping bag): ours {jump[1]}, theirs {jump[2]}'
    )
    result = {
        **cases[HEADLINE],
        'pairs_after_jump_best': jump[0],
        'pairs_after_jump': jump[1],
        'pairs_after_jump_message_filters': jump[2],
        'cases': list(cases.values()),
    }
    print(json.dumps(result, allow_nan=False), flush=True)


if __name__ == '__main__':
    main()
