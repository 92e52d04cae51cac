"""Breakers against a model that remembers everything and reckons in fractions."""

from fractions import Fraction

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from saferun.control.breaker import BUCKET, Breaker, Health, admits, completed, tally

SECOND = 1_000_000
NOON = 1_760_000_000 * SECOND

RATES = st.sampled_from(["0.2", "0.29", "1/3", "0.5", "0.66", "0.8", "1"])


class Tool(RuleBasedStateMachine):
    """One tool: calls come, end, crash and are cancelled, and time goes by."""

    @initialize(
        failure_rate=RATES,
        slow_rate=RATES,
        min_calls=st.integers(1, 8),
        probes=st.integers(1, 3),
        successes=st.integers(1, 4),
        retry_share=RATES,
        retry_min=st.integers(0, 3),
        spike=st.sampled_from([None, "1", "2.5", "5"]),
        seed=st.integers(0, 1 << 64),
    )
    def a_tool_is_set_up(
        self, failure_rate, slow_rate, min_calls, probes, successes, retry_share, retry_min, **more
    ) -> None:
        spike = more["spike"]
        self.failure_rate, self.slow_rate = Fraction(failure_rate), Fraction(slow_rate)
        self.retry_share = Fraction(retry_share)
        self.spike = None if spike is None else Fraction(spike)
        self.settings = Breaker(
            failure_rate=float(self.failure_rate),
            slow_rate=float(self.slow_rate),
            slow_after=SECOND,
            min_calls=min_calls,
            open_max=150 * SECOND,
            probes=probes,
            successes=successes,
            spike=None if spike is None else float(spike),
            spike_floor=50,
            retry_share=float(self.retry_share),
            retry_min=retry_min,
        )
        self.seed = more["seed"]
        self.health = Health()
        self.now = NOON
        self.calls = 0
        self.running: list[int] = []
        # What the model remembers: everything.
        self.state = "closed"
        self.ended: list[tuple[int, bool, bool]] = []
        self.retries: list[int] = []
        self.spent: list[tuple[int, int]] = []
        self.row = 0
        self.until = 0
        self.trial: dict[int, int] = {}
        self.verdicts: list[bool] = []

    def _in_window(self, at: int) -> bool:
        return self.now // BUCKET - 6 < at // BUCKET

    def _before_window(self, at: int) -> bool:
        minute = self.now // BUCKET // 6
        return not self._in_window(at) and minute - 15 <= at // BUCKET // 6 < minute

    def _minutes(self) -> int:
        before = [at for at, cost in self.spent if cost and self._before_window(at)]
        return self.now // BUCKET // 6 - min(before) // BUCKET // 6 if before else 0

    @rule(by=st.sampled_from([1, SECOND, 9 * SECOND, BUCKET, 31 * SECOND, 61 * SECOND]))
    def time_passes(self, by: int) -> None:
        self.now += by

    @precondition(lambda self: self.state == "open")
    @rule(off=st.sampled_from([-1, 0]))
    def time_passes_until_it_may_be_tried(self, off: int) -> None:
        self.now = max(self.now, self.until + off)

    @rule(minutes=st.integers(1, 20))
    def nothing_happens_for_a_while(self, minutes: int) -> None:
        self.now += minutes * 60 * SECOND

    @rule(retry=st.booleans(), approved=st.booleans())
    def a_call_comes(self, retry: bool, approved: bool) -> None:
        self.calls += 1
        before = self.health
        found = admits(self.settings, before, self.now, call=self.calls, retry=retry)
        probe = self.state != "closed"
        why = None
        if self.state == "open" and self.now < self.until:
            why = "open"
        held = [at for at in self.trial.values() if self.now - at < self.settings.lease]
        if self.state == "half-open" and len(held) >= self.settings.probes:
            why = "half-open"
        if why is None and retry:
            calls = sum(self._in_window(at) for at, _, _ in self.ended)
            again = sum(map(self._in_window, self.retries)) + 1
            if again > max(self.settings.retry_min, self.retry_share * calls):
                why = "retry-budget"
        if why is not None:
            assert (found.verdict, found.why) == ("deny", why)
            assert found.health is before
            assert found.until is None or found.until > self.now
            return
        recent = sum(cost for at, cost in self.spent if self._in_window(at))
        earlier = sum(cost for at, cost in self.spent if self._before_window(at))
        usual = Fraction(earlier, self._minutes()) if earlier else Fraction(50)
        spikes = self.spike is not None and recent > 50 and recent > self.spike * usual
        assert found.verdict == ("ask" if spikes else "allow")
        assert (found.why, found.probe) == ("cost-spike" if spikes else None, probe)
        if spikes and not approved:
            return
        self.health = found.health
        self.running.append(self.calls)
        if retry:
            self.retries.append(self.now)
        if probe:
            self.state = "half-open"
            self.trial[self.calls] = self.now
        elif not retry:
            assert found.health is before

    @precondition(lambda self: self.running)
    @rule(
        which=st.integers(0, 1_000),
        failed=st.sampled_from([True, True, False, False, None]),
        slow=st.booleans(),
        cost=st.integers(0, 60),
    )
    def a_call_ends(self, which: int, failed: bool | None, slow: bool, cost: int) -> None:
        call = self.running.pop(which % len(self.running))
        self.health = completed(
            *(self.settings, self.health, self.now),
            call=call,
            seed=self.seed,
            failed=failed,
            latency=SECOND + slow,
            cost=cost,
        )
        self.spent.append((self.now, cost))
        probe = self.trial.pop(call, None) is not None
        if failed is None:
            return
        self.ended.append((self.now, failed, slow))
        if self.state == "closed":
            window = [each for each in self.ended if self._in_window(each[0])]
            failures = Fraction(sum(failed for _, failed, _ in window), len(window))
            slows = Fraction(sum(slow for _, _, slow in window), len(window))
            if len(window) >= self.settings.min_calls and (
                failures >= self.failure_rate or slows >= self.slow_rate
            ):
                self._opens()
        elif self.state == "half-open" and probe:
            self.verdicts.append(slow)
            slows = Fraction(sum(self.verdicts), len(self.verdicts))
            if failed:
                self._opens()
            elif len(self.verdicts) >= self.settings.successes:
                if slows >= self.slow_rate:
                    self._opens()
                else:
                    self.state, self.row = "closed", 0
                    self.ended.clear()
                    self.trial.clear()
                    self.verdicts.clear()

    def _opens(self) -> None:
        self.state = "open"
        self.row += 1
        self.trial.clear()
        self.verdicts.clear()
        # Chance is the breaker's own; the model knows its bounds.
        length = min(30 * 2 ** (self.row - 1), 150) * SECOND
        self.until = self.health.until
        assert Fraction(8, 10) * length - 1 <= self.until - self.now <= Fraction(12, 10) * length

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 1_000))
    def a_process_crashes(self, which: int) -> None:
        self.running.pop(which % len(self.running))

    @rule()
    def the_record_goes_to_another_process(self) -> None:
        packed = msgspec.msgpack.encode(self.health)
        assert len(packed) < 2048
        self.health = msgspec.msgpack.decode(packed, type=Health)

    @invariant()
    def both_say_the_same(self) -> None:
        if not hasattr(self, "health"):
            return
        assert (self.health.state, self.health.opened) == (self.state, self.row)
        window = [each for each in self.ended if self._in_window(each[0])]
        assert tally(self.health, self.now) == (
            len(window),
            sum(failed for _, failed, _ in window),
            sum(slow for _, _, slow in window),
            sum(map(self._in_window, self.retries)),
            sum(cost for at, cost in self.spent if self._in_window(at)),
            sum(cost for at, cost in self.spent if self._before_window(at)),
            self._minutes(),
        )
        assert len(self.health.window) <= 6
        assert len(self.health.history) <= 15


TestTool = Tool.TestCase
