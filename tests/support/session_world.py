"""The sessions of one end in virtual time, on a module of the test's choice: its state is set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from qss.core.module import calls
from qss.core.module.calls import View
from qss.core.module.phases import Phase
from qss.core.module.qos import Ability
from qss.core.module.sessions import Sessions
from qss.model.identifiers import QksId, StreamId
from qss.wire.etsi004.messages import QoS
from qss.wire.etsi004.status import Status

IDLE = View(Phase.IDLE, None, None, 0)
NAMED = StreamId(b"predefined KSID!")


@dataclass
class World:
    """Calls go in by `open`, `get`, `close`; what they were answered is in `answers`, by number."""

    now: float = 100.0
    view: View = IDLE
    rate_bps: float = 1e6
    refuses: bool = False
    """The module does not open the next stream."""
    core: Sessions = field(default_factory=lambda: Sessions(QksId("A"), QksId("B")))
    answers: dict[int, calls.Effect] = field(default_factory=dict)
    kept: int | None = None
    """Which chunk is kept."""
    taken: list[int] = field(default_factory=list)
    ended: list[StreamId] = field(default_factory=list)
    asked: int = 0
    _begun: list[StreamId] = field(default_factory=list)

    def handle(self, event: calls.Event) -> None:
        changed = False
        self._begun.clear()
        for effect in self.core.handle(event, self.view, self.now):
            changed = self._perform(effect) or changed
        if self._begun and self.refuses:
            self.refuses = False
            self.handle(calls.BeginRefused(self._begun[0]))
        elif changed:
            self.handle(calls.ModuleChanged())

    def _perform(self, effect: calls.Effect) -> bool:
        match effect:
            case calls.Begin(stream, _):
                self._begun.append(stream)
                if not self.refuses:
                    announced = self.view.announced
                    met = announced is not None and announced.stream == stream
                    phase = Phase.RUNNING if met else Phase.OPENING
                    self.view = replace(self.view, phase=phase, stream=stream, ready=0)
                return True
            case calls.End(stream):
                self.ended.append(stream)
                self.kept = None
                if self.view.stream == stream:
                    phase = Phase.DOWN if self.view.phase is Phase.DOWN else Phase.IDLE
                    self.view = replace(self.view, phase=phase, stream=None, ready=0)
                return True
            case calls.Forget():
                self.kept = None
            case calls.Take(call, index, _):
                assert self.view.ready > 0
                self.view = replace(self.view, ready=self.view.ready - 1)
                self.kept = index
                self.taken.append(index)
                self._answered(call, effect)
            case calls.Repeat(call, index, _):
                assert self.kept == index
                self._answered(call, effect)
            case _:
                self._answered(effect.call, effect)
        return False

    def _answered(self, call: int, effect: calls.Effect) -> None:
        assert call not in self.answers, "a call was answered twice"
        self.answers[call] = effect

    # --- calls ----------------------------------------------------------------------------------------------------

    def open(
        self,
        caller: str = "alice",
        qos: QoS | None = None,
        stream: StreamId | None = None,
        site: str | None = None,
        peer: str | None = None,
    ) -> int:
        self.asked += 1
        entropy, ability = self.asked.to_bytes(16), Ability(self.rate_bps)
        self.handle(calls.OpenAsked(self.asked, caller, site, peer, qos or QoS(), stream, entropy, ability))
        return self.asked

    def get(self, stream: StreamId, index: int, caller: str = "alice", metadata_size: int = 0) -> int:
        self.asked += 1
        self.handle(calls.KeyAsked(self.asked, caller, stream, index, metadata_size))
        return self.asked

    def close(self, stream: StreamId, caller: str = "alice") -> int:
        self.asked += 1
        self.handle(calls.CloseAsked(self.asked, caller, stream))
        return self.asked

    def status(self, call: int) -> Status | None:
        """What a call was answered; None if it was not yet."""
        answer = self.answers.get(call)
        if isinstance(answer, calls.Take | calls.Repeat):
            return Status.SUCCESS
        return None if answer is None else getattr(answer, "status", None)

    def opened(self, call: int) -> StreamId:
        answer = self.answers[call]
        assert isinstance(answer, calls.AnswerOpen)
        assert answer.stream is not None
        return answer.stream

    def qos(self, call: int) -> QoS:
        answer = self.answers[call]
        assert isinstance(answer, calls.AnswerOpen)
        assert answer.qos is not None
        return answer.qos

    # --- the module -----------------------------------------------------------------------------------------------

    def change(self, **members: object) -> None:
        self.view = replace(self.view, **members)  # type: ignore[arg-type]
        self.handle(calls.ModuleChanged())

    def running(self, ready: int = 0, qos: QoS | None = None) -> StreamId:
        """Have Alice open a stream that the peer has joined."""
        stream = self.opened(self.open(qos=qos))
        self.change(phase=Phase.RUNNING, ready=ready)
        return stream

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.handle(calls.Tick())
