"""Progress is a line now and then where there is no terminal."""

from tropism.cli import telling
from tropism.models.progress import Progress


def test_a_line_now_and_then(monkeypatch):
    now, said = [100.0], []
    monkeypatch.setattr(telling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(telling, "say", said.append)
    monkeypatch.setattr(telling, "is_terminal", lambda: False)
    with telling.telling({"run": "flying"}) as tell:
        for second, done in ((1, 100), (5, 500), (11, 1100), (12, 1200)):
            now[0] = 100.0 + second
            tell(Progress("run", done, 2000, 1_356_998_400_000_000, champion=done // 500))
        now[0] = 130.0
        tell(Progress("reading back"))
    assert said == ["flying: 1,100 of 2,000  2013-01-01 00:00  100 events/s  champion v2", "reading back"]
