"""Temperature, GPU and power of this machine, from whichever source it has.

Thermal zones of the kernel (``/sys/class/thermal``), NVML through ``pynvml``, and ``tegrastats``
on a Jetson. What no source gives is a text that says so, never a zero.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

ZONES = Path('/sys/class/thermal')
# Zones of power management chips that always say 100 degC (Jetson TX1, TX2, Xavier).
NO_SENSOR = 'pmic'
COLDEST = -40.0
# What tegrastats calls the power of the whole board, on newer and on older ones.
BOARD_POWER = ('VDD_IN', 'POM_5V_IN')
_TEMPERATURE = re.compile(r'([A-Za-z0-9_.-]+)@(-?[0-9.]+)C\b')
_GPU = re.compile(r'\bGR3D_FREQ (\d+)%')
_POWER = re.compile(r'\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/\d+')

Reading = dict[str, Any]


class Machine:
    """Reads some of temperature, gpu, gpu_memory, gpu_temperature and power."""

    def __init__(self, wanted: list[str], zones: Path = ZONES) -> None:
        self._wanted = wanted
        self._zones = Thermal(zones) if 'temperature' in wanted else None
        about_gpu = any(name != 'temperature' for name in wanted)
        self._nvml = Nvml() if about_gpu else None
        # NVML of a Jetson refuses most of what tegrastats tells.
        found: Reading = {}
        for source in (self._zones, self._nvml):
            found |= source.read() if source else {}
        self._tegra = Tegrastats() if any(name not in found for name in wanted) else None

    def read(self) -> Reading:
        """Return what is wanted: a number in bytes, degC, W or as a share, or why there is none.

        ``of`` says which sensor a temperature comes from.
        """
        found: Reading = {}
        reasons: dict[str, list[str]] = {name: [] for name in self._wanted}
        of: dict[str, str] = {}
        for source in (self._zones, self._nvml, self._tegra):
            if source is None:
                continue
            values = source.read()
            for name in self._wanted:
                if name in found or name not in source.gives:
                    continue
                if name in values:
                    found[name] = values[name]
                    if name in source.of:
                        of[name] = source.of[name]
                else:
                    reasons[name].append(source.lacking or source.silent(name))
        for name in self._wanted:
            found.setdefault(name, f'not available: {"; ".join(reasons[name])}')
        return {**found, 'of': of} if of else found

    def close(self) -> None:
        """Release the GPU and stop tegrastats."""
        for source in (self._nvml, self._tegra):
            if source is not None:
                source.close()


class Source:
    """Where readings come from; ``lacking`` says why there are none."""

    gives: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.lacking = ''
        self.of: dict[str, str] = {}

    def read(self) -> Reading:
        """Return what it has now."""
        raise NotImplementedError

    def silent(self, name: str) -> str:
        """Say why a working source does not give something."""
        return f'{type(self).__name__} does not tell'

    def close(self) -> None:
        """Release what is held."""


class Thermal(Source):
    """The kernel's thermal zones: the hottest of them."""

    gives = ('temperature',)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._zones: list[tuple[str, Path]] = []
        for zone in sorted(folder.glob('thermal_zone*')):
            with contextlib.suppress(OSError):
                name = (zone / 'type').read_text().strip()
                if NO_SENSOR not in name.lower():
                    self._zones.append((name, zone / 'temp'))
        if not self._zones:
            self.lacking = f'{folder} has no thermal zone'

    def read(self) -> Reading:
        """Return the hottest; a zone whose sensor sleeps gives an error and is left out."""
        found: list[tuple[float, str]] = []
        for name, file in self._zones:
            with contextlib.suppress(OSError, ValueError):
                found.append((int(file.read_text()) / 1000, name))
        return self._hottest(found)

    def _hottest(self, found: list[tuple[float, str]]) -> Reading:
        found = [one for one in found if one[0] > COLDEST]
        if not found:
            return {}
        value, self.of['temperature'] = max(found)
        return {'temperature': value}

    def silent(self, name: str) -> str:
        """Say why there are zones and no temperature."""
        return 'no thermal zone could be read'


class Nvml(Source):
    """NVIDIA's management library: the busiest and hottest GPU; memory and power of all."""

    gives = ('gpu', 'gpu_memory', 'gpu_temperature', 'power')

    def __init__(self) -> None:
        super().__init__()
        self._nvml: Any = None
        self._devices: list[Any] = []
        self._refused: dict[str, str] = {}
        try:
            self._nvml = importlib.import_module('pynvml')
        except ImportError:
            self.lacking = 'pynvml is not installed'
            return
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            self._devices = [self._nvml.nvmlDeviceGetHandleByIndex(at) for at in range(count)]
        except self._nvml.NVMLError as error:
            self.lacking = f'NVML: {error}'
        else:
            self.lacking = '' if self._devices else 'NVML knows no GPU'

    def read(self) -> Reading:
        """Return what the devices tell; not every one tells everything."""
        if not self._devices:
            return {}
        nvml = self._nvml
        questions: dict[str, Any] = {
            'gpu': lambda one: nvml.nvmlDeviceGetUtilizationRates(one).gpu / 100,
            'gpu_memory': lambda one: nvml.nvmlDeviceGetMemoryInfo(one).used,
            'gpu_temperature': lambda one: nvml.nvmlDeviceGetTemperature(
                one, nvml.NVML_TEMPERATURE_GPU),
            'power': lambda one: nvml.nvmlDeviceGetPowerUsage(one) / 1000,
        }
        found: Reading = {}
        for name, ask in questions.items():
            try:
                answers = [ask(one) for one in self._devices]
            except nvml.NVMLError as error:
                self._refused[name] = f'NVML: {error}'
                continue
            found[name] = sum(answers) if name in ('gpu_memory', 'power') else max(answers)
        return found

    def silent(self, name: str) -> str:
        """Return what NVML said."""
        return self._refused.get(name, 'NVML does not tell')

    def close(self) -> None:
        """Release the library."""
        if self._nvml is not None and self._devices:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()


class Tegrastats(Source):
    """The command of a Jetson, which prints a line a second."""

    gives = ('temperature', 'gpu', 'gpu_memory', 'gpu_temperature', 'power')

    def __init__(self) -> None:
        super().__init__()
        self._process: subprocess.Popen[bytes] | None = None
        self._text = b''
        command = shutil.which('tegrastats')
        if command is None:
            self.lacking = 'no tegrastats'
            return
        try:
            # Ends by itself when nobody reads any more.
            self._process = subprocess.Popen(
                [command, '--interval', '1000'], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError as error:
            self.lacking = f'tegrastats: {error.strerror}'
            return
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)

    def read(self) -> Reading:
        """Return what the last complete line says; every line counts once."""
        if self._process is None:
            return {}
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self._output, 65536):
                self._text += block
        *lines, self._text = self._text.split(b'\n')
        if not lines:
            return {}
        return self._read_line(lines[-1].decode(errors='replace'))

    def _read_line(self, line: str) -> Reading:
        found: Reading = {}
        heats = {
            name: float(value) for name, value in _TEMPERATURE.findall(line)
            if NO_SENSOR not in name.lower() and float(value) > COLDEST
        }
        if heats:
            hottest = max(heats, key=lambda name: heats[name])
            found['temperature'], self.of['temperature'] = heats[hottest], hottest
        for name, value in heats.items():
            if name.lower() == 'gpu':
                found['gpu_temperature'] = value
        if match := _GPU.search(line):
            found['gpu'] = int(match[1]) / 100
        powers = {name: int(value) / 1000 for name, value in _POWER.findall(line)}
        for name in BOARD_POWER:
            if name in powers:
                found['power'] = powers[name]
                break
        return found

    def silent(self, name: str) -> str:
        """Say what a Jetson does not have."""
        if name == 'gpu_memory':
            return 'a Jetson has no memory of the GPU alone'
        return 'tegrastats has not told'

    def close(self) -> None:
        """Stop the command."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
