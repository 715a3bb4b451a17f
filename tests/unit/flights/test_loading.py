"""The facts come into the log once, in one order, whoever stopped the loading before."""

import asyncio
import zipfile

import pytest

from tropism.adapters.memory import MemoryCompute, MemoryStore
from tropism.demo.flights import run
from tropism.demo.flights.source import flight_records
from tropism.ports.platform import Platform

HEADER = "year,month,day,sched_dep_time,dep_delay,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,distance"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    flights = [
        f"2013,{1 + n // 28},{1 + n % 28},{600 + n % 60},{n},900,{n},UA,{n},N1,EWR,IAH,900"
        for n in range(150)
    ]
    with zipfile.ZipFile(tmp_path / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", "\n".join([HEADER, *flights, ""]))
    (tmp_path / "weather.csv").write_text(
        "origin,temp,dewp,humid,wind_dir,wind_speed,precip,pressure,visib,time_hour\n"
    )
    (tmp_path / "airports.csv").write_text("faa,tzone\nIAH,America/Chicago\n")
    monkeypatch.setattr(run, "data_folder", lambda: tmp_path)
    return tmp_path


async def loaded(there, folder, said):
    store = MemoryStore(partitions_default=4)
    platform = Platform(store.log, store.state, store.blobs, MemoryCompute(), None, store.queue)
    await platform.log.create_topics(run.TOPICS)
    await platform.log.append(there)
    end_us = await run.load(platform, run.FlightsOptions(folder), said.append)
    ends = await platform.log.ends(run.TOPICS)
    pages = await platform.log.read(dict.fromkeys(ends, 0), count_max=100_000)
    return end_us, {where: [each.record for each in page] for where, page in pages.items()}


@pytest.mark.parametrize("count", [0, 1, 99, 100, 250, -1, None])
def test_a_load_goes_on_where_another_one_stopped(folder, monkeypatch, count):
    """Whatever the beginning that is there, down to all but one and all of it: the log comes to the same."""
    monkeypatch.setattr(run, "LOAD_COUNT", 100)
    records = flight_records(folder)
    assert len(records) == 450
    said = []
    end_us, found = asyncio.run(loaded(records[:count], folder, said))
    assert sum(map(len, found.values())) == len(records)
    for (topic, _), page in found.items():
        ids = {record.id for record in page}
        assert page == [r for r in records if r.topic == topic and r.id in ids]
    assert end_us == records[-1].time_us + 36 * 3600 * 1_000_000
    assert [progress.done for progress in said] == sorted({progress.done for progress in said})
    assert said[-1].done == len(records)
