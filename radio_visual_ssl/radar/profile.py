# SPDX-License-Identifier: Apache-2.0
"""Radar profiles: waveform, antenna positions and capture format of one radar, read from config/radars/*.yaml."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radio_visual_ssl.config_file import config_file, config_names, one_of, read_mapping

SPEED_OF_LIGHT = 299_792_458.0


class ProfileError(ValueError):
    """A radar profile, or the file it comes from, has a field that is missing, out of range or contradicts another."""


@dataclass(frozen=True)
class FmcwWaveform:
    """Linear chirps; transmitters take turns (TDM-MIMO) where there are several.

    Attributes:
        carrier_frequency: Hz, instantaneous frequency at the first ADC sample.
        slope: Hz/s.
        sample_rate: Hz.
        chirp_period: s between the starts of consecutive chirps, whichever transmitter sends them.
        num_chirps: chirps per transmitter and frame.
        num_samples: ADC samples per chirp.
        complex_samples: the ADC samples I and Q; False: real samples, of which half the spectrum is used.

    Raises:
        ProfileError: a value that is not positive and finite, or chirps longer than their period.
    """

    carrier_frequency: float
    slope: float
    sample_rate: float
    chirp_period: float
    num_chirps: int
    num_samples: int
    complex_samples: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('carrier_frequency', 'slope', 'sample_rate', 'chirp_period'):
            object.__setattr__(self, name, _positive(name, getattr(self, name)))
        object.__setattr__(self, 'num_chirps', _count('num_chirps', self.num_chirps, 1))
        object.__setattr__(self, 'num_samples', _count('num_samples', self.num_samples, 4))
        if not isinstance(self.complex_samples, bool):
            raise ProfileError(f'complex_samples: expected true or false, got {self.complex_samples!r}')
        sampled = self.num_samples / self.sample_rate
        if self.chirp_period < sampled:
            raise ProfileError(
                f'chirp_period: expected at least the {sampled:g} s that {self.num_samples} samples take, '
                f'got {self.chirp_period:g} s'
            )

    @property
    def bandwidth(self) -> float:
        """Hz swept while the ADC samples."""
        return self.slope * self.num_samples / self.sample_rate

    @property
    def slow_time_count(self) -> int:
        """Chirps per transmitter and frame."""
        return self.num_chirps

    @property
    def fast_time_count(self) -> int:
        """ADC samples per chirp."""
        return self.num_samples

    @property
    def centre_frequency(self) -> float:
        """Hz, middle of the sampled sweep."""
        return self.carrier_frequency + self.bandwidth / 2

    @property
    def slot_period(self) -> float:
        """Seconds between consecutive transmitter slots."""
        return self.chirp_period

    @property
    def max_range(self) -> float:
        """m, monostatic range at which the beat frequency is no longer unique."""
        beat = self.sample_rate if self.complex_samples else self.sample_rate / 2
        return SPEED_OF_LIGHT * beat / (2 * self.slope)


@dataclass(frozen=True)
class OfdmWaveform:
    """Channel estimates on a comb of subcarriers, one set per symbol; all transmitters at once.

    Attributes:
        carrier_frequency: Hz, centre of the band.
        subcarrier_spacing: Hz between the subcarriers in the cube.
        symbol_period: s between the starts of consecutive symbols in the cube.
        num_symbols: symbols per frame.
        num_subcarriers: subcarriers in the cube.
        cyclic_prefix: s, echoes up to this delay do not disturb the next symbol; 0 = not stated.

    Raises:
        ProfileError: a value that is not positive and finite, a prefix that does not fit the symbol period, or a band
            that reaches below 0 Hz.
    """

    carrier_frequency: float
    subcarrier_spacing: float
    symbol_period: float
    num_symbols: int
    num_subcarriers: int
    cyclic_prefix: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ('carrier_frequency', 'subcarrier_spacing', 'symbol_period'):
            object.__setattr__(self, name, _positive(name, getattr(self, name)))
        object.__setattr__(self, 'num_symbols', _count('num_symbols', self.num_symbols, 1))
        object.__setattr__(self, 'num_subcarriers', _count('num_subcarriers', self.num_subcarriers, 4))
        prefix = _number('cyclic_prefix', self.cyclic_prefix, 0.0)
        if prefix >= self.symbol_period:
            raise ProfileError(
                f'cyclic_prefix: expected less than the symbol period of {self.symbol_period:g} s, got {prefix:g} s'
            )
        object.__setattr__(self, 'cyclic_prefix', prefix)
        if self.bandwidth / 2 >= self.carrier_frequency:
            raise ProfileError(
                f'subcarrier_spacing: expected a band of less than twice the carrier, got {self.bandwidth:g} Hz '
                f'around {self.carrier_frequency:g} Hz'
            )

    @property
    def bandwidth(self) -> float:
        """Hz occupied."""
        return self.subcarrier_spacing * self.num_subcarriers

    @property
    def slow_time_count(self) -> int:
        """Symbols per frame."""
        return self.num_symbols

    @property
    def fast_time_count(self) -> int:
        """Subcarriers."""
        return self.num_subcarriers

    @property
    def centre_frequency(self) -> float:
        """Hz, middle of the band."""
        return self.carrier_frequency

    @property
    def slot_period(self) -> float:
        """Seconds between consecutive transmitter slots: 0, the transmitters are told apart within one symbol."""
        return 0.0

    @property
    def max_range(self) -> float:
        """m, monostatic range at which the delay is no longer unique."""
        return SPEED_OF_LIGHT / (2 * self.subcarrier_spacing)

    @property
    def cyclic_prefix_range(self) -> float:
        """m, monostatic range up to which symbols do not disturb each other; infinite where no prefix is stated."""
        return SPEED_OF_LIGHT * self.cyclic_prefix / 2 if self.cyclic_prefix > 0 else math.inf


@dataclass(frozen=True)
class FrontEnd:
    """Analogue side of a radar: what the link budget needs, and its imperfections.

    Attributes:
        tx_power_dbm: power into the transmitting antenna.
        tx_gain_dbi, rx_gain_dbi: of one antenna on boresight.
        noise_figure_db: of a receiver.
        loss_db: of cables, radome and processing, both ways together.
        temperature: K, of the noise.
        pattern_exponent: power gain of each antenna against boresight: this power of the cosine of the angle.
        phase_noise_deg: rms phase error from one chirp or symbol to the next, common to all channels.
        gain_error_db, phase_error_deg: rms errors of the channels that the calibration does not know.

    Raises:
        ProfileError: a value that is not finite, or below 0 where that makes no sense.
    """

    tx_power_dbm: float = 20.0
    tx_gain_dbi: float = 5.0
    rx_gain_dbi: float = 5.0
    noise_figure_db: float = 7.0
    loss_db: float = 0.0
    temperature: float = 290.0
    pattern_exponent: float = 1.0
    phase_noise_deg: float = 0.0
    gain_error_db: float = 0.0
    phase_error_deg: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        for item in dataclasses.fields(self):
            least = -math.inf if item.name in ('tx_power_dbm', 'tx_gain_dbi', 'rx_gain_dbi') else 0.0
            object.__setattr__(self, item.name, _number(item.name, getattr(self, item.name), least))
        if self.temperature == 0:
            raise ProfileError('temperature: expected more than 0 K, got 0')


@dataclass(frozen=True, eq=False)
class RadarProfile:
    """One radar: waveform and antennas.

    Attributes:
        name: of the profile.
        waveform: FMCW or OFDM.
        tx_positions, rx_positions: (T, 3) and (N, 3) float64, m, phase centres in the radar frame (REP-103).
        tx_order: transmitter index of each slot; its length is the number of transmitters in the cube. Empty becomes
            0, 1, ... T - 1.
        calibration: (len(tx_order) * N,) complex64, factor of each virtual channel, receiver fastest; None = ones.
        capture: how a raw file of this radar is laid out (see radar/capture.py).
        front_end: power, gains and noise; None = not stated.

    Raises:
        ProfileError: a field out of range or fields that contradict each other.
    """

    name: str
    waveform: FmcwWaveform | OfdmWaveform
    tx_positions: NDArray[np.float64]
    rx_positions: NDArray[np.float64]
    tx_order: tuple[int, ...] = ()
    calibration: NDArray[np.complex64] | None = None
    capture: dict[str, Any] = field(default_factory=dict)
    front_end: FrontEnd | None = None

    def __post_init__(self) -> None:
        """Check the fields and take them over in their own types."""
        if not isinstance(self.waveform, (FmcwWaveform, OfdmWaveform)):
            raise ProfileError(f'waveform: expected FmcwWaveform or OfdmWaveform, got {type(self.waveform).__name__}')
        for name in ('tx_positions', 'rx_positions'):
            object.__setattr__(self, name, _positions(name, getattr(self, name)))
        count = len(self.tx_positions)
        order = tuple(self.tx_order) or tuple(range(count))
        if any(not isinstance(index, (int, np.integer)) or not 0 <= index < count for index in order):
            raise ProfileError(f'tx_order: expected indices from 0 to {count - 1} into tx_positions, got {list(order)}')
        object.__setattr__(self, 'tx_order', tuple(int(index) for index in order))
        if self.calibration is not None:
            object.__setattr__(self, 'calibration', self._checked_calibration(self.calibration))

    def _checked_calibration(self, values: ArrayLike) -> NDArray[np.complex64]:
        calibration = np.array(values, dtype=np.complex64)
        if calibration.shape != (self.num_virtual_channels,):
            raise ProfileError(
                f'calibration: expected {self.num_virtual_channels} factors ({len(self.tx_order)} transmitter slots x '
                f'{len(self.rx_positions)} receivers), got shape {calibration.shape}'
            )
        if not np.all(np.isfinite(calibration)) or np.any(calibration == 0):
            raise ProfileError('calibration: expected finite factors other than 0')
        calibration.setflags(write=False)
        return calibration

    @property
    def wavelength(self) -> float:
        """m, at the centre frequency."""
        return SPEED_OF_LIGHT / self.waveform.centre_frequency

    @property
    def range_resolution(self) -> float:
        """m, c / 2B."""
        return SPEED_OF_LIGHT / (2 * self.waveform.bandwidth)

    @property
    def num_virtual_channels(self) -> int:
        """Transmitter slots times receivers."""
        return len(self.tx_order) * len(self.rx_positions)

    @property
    def virtual_positions(self) -> NDArray[np.float64]:
        """(num_virtual_channels, 3) m, transmitter plus receiver position, receiver fastest."""
        return (self.tx_positions[list(self.tx_order), None] + self.rx_positions[None]).reshape(-1, 3)

    @property
    def slow_time_period(self) -> float:
        """Seconds between consecutive chirps of one transmitter, or consecutive symbols."""
        if isinstance(self.waveform, OfdmWaveform):
            return self.waveform.symbol_period
        return self.waveform.chirp_period * len(self.tx_order)

    @property
    def max_velocity(self) -> float:
        """m/s, radial speed either way at which Doppler is no longer unique: wavelength / (4 slow-time period)."""
        return self.wavelength / (4 * self.slow_time_period)

    @property
    def velocity_resolution(self) -> float:
        """m/s, wavelength / (2 frame duration)."""
        return self.wavelength / (2 * self.waveform.slow_time_count * self.slow_time_period)


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return config_names('radars')


def load_profile(name_or_path: str | Path) -> RadarProfile:
    """Profile of a shipped radar, or of a YAML file.

    Args:
        name_or_path: the name of a file in config/radars/ without ``.yaml``, or a path. Relative paths inside the file
            (calibration) count from the file's folder.

    Raises:
        ProfileError: no such profile (the message lists the shipped ones), no such calibration file, not YAML, or a
            missing, unknown or wrong field; the message names the file and the field.
    """
    path = config_file(name_or_path, 'radars', ProfileError)
    content = read_mapping(path, ProfileError)
    try:
        return _profile_from_content(content, path)
    except ProfileError as error:
        raise ProfileError(f'{path}: {error}') from error


_WAVEFORMS = {'fmcw': FmcwWaveform, 'ofdm': OfdmWaveform}
_UNITS = ('metre', 'wavelength')


def _profile_from_content(content: Any, path: Path) -> RadarProfile:
    required = ('waveform', 'tx_positions', 'rx_positions')
    optional = ('name', 'description', 'position_unit', 'tx_order', 'calibration', 'capture', 'front_end')
    _check_keys('', content, required, optional)
    waveform = _waveform(content['waveform'])
    unit = content.get('position_unit', 'metre')
    if unit not in _UNITS:
        raise ProfileError(f'position_unit: expected one of {", ".join(_UNITS)}, got {unit!r}')
    scale = SPEED_OF_LIGHT / waveform.centre_frequency if unit == 'wavelength' else 1.0
    order, capture = content.get('tx_order') or (), content.get('capture') or {}
    if not isinstance(order, (list, tuple)):
        raise ProfileError(f'tx_order: expected a list of indices, got {order!r}')
    if not isinstance(capture, dict):
        raise ProfileError(f'capture: expected a mapping, got {capture!r}')
    return RadarProfile(
        name=str(content.get('name', path.stem)),
        waveform=waveform,
        tx_positions=_positions('tx_positions', _line('tx_positions', content['tx_positions'])) * scale,
        rx_positions=_positions('rx_positions', _line('rx_positions', content['rx_positions'])) * scale,
        tx_order=tuple(order),
        calibration=_calibration(content.get('calibration'), path.parent),
        capture=capture,
        front_end=_front_end(content.get('front_end')),
    )


def _line(name: str, content: Any) -> Any:
    """The antennas of ``{count: 16, spacing: 0.5}``, a uniform line along y from left to right; others as they are."""
    if not isinstance(content, dict):
        return content
    _check_keys(f'{name}.', content, ('count', 'spacing'), ())
    count, spacing = _count(f'{name}.count', content['count'], 1), _positive(f'{name}.spacing', content['spacing'])
    return [[0.0, ((count - 1) / 2 - index) * spacing, 0.0] for index in range(count)]


def _front_end(content: Any) -> FrontEnd | None:
    if content is None:
        return None
    _check_keys('front_end.', content, (), [item.name for item in dataclasses.fields(FrontEnd)])
    try:
        return FrontEnd(**content)
    except ProfileError as error:
        raise ProfileError(f'front_end.{error}') from error


def _waveform(content: Any) -> FmcwWaveform | OfdmWaveform:
    kind = content.get('type') if isinstance(content, dict) else None
    if kind not in _WAVEFORMS:
        raise ProfileError(f'waveform.type: expected one of {", ".join(_WAVEFORMS)}, got {kind!r}')
    fields = dataclasses.fields(_WAVEFORMS[kind])
    required = [item.name for item in fields if item.default is dataclasses.MISSING]
    _check_keys('waveform.', content, ('type', *required), [item.name for item in fields])
    try:
        return _WAVEFORMS[kind](**{key: value for key, value in content.items() if key != 'type'})
    except ProfileError as error:
        raise ProfileError(f'waveform.{error}') from error


def _calibration(content: Any, folder: Path) -> NDArray[np.complex64] | None:
    """Factors of a .npy file, or of a list of numbers and [re, im] pairs."""
    if content is None:
        return None
    if isinstance(content, str):
        path = folder / content
        if not path.is_file():
            raise ProfileError(f'calibration: expected a .npy file at {path}, got none there')
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ProfileError(f'calibration: expected a .npy file of complex factors at {path}: {error}') from error
        if values.dtype.kind not in 'ifc':
            raise ProfileError(f'calibration: expected complex factors in {path}, got {values.dtype}')
        return values.astype(np.complex64)
    wrong = ProfileError(f'calibration: expected a .npy file name or a list of numbers and [re, im], got {content!r}')
    if not isinstance(content, list):
        raise wrong
    try:
        pairs = [value if isinstance(value, list) else [value, 0.0] for value in content]
        return np.array([complex(float(re), float(im)) for re, im in pairs], dtype=np.complex64)
    except (TypeError, ValueError):
        raise wrong from None


def _check_keys(prefix: str, content: Any, required: Any, optional: Any) -> None:
    if not isinstance(content, dict):
        raise ProfileError(f'{prefix or "the file"}: expected a mapping of fields, got {type(content).__name__}')
    for key in required:
        if key not in content:
            raise ProfileError(f'{prefix}{key}: expected a value, got none')
    known = [*required, *(key for key in optional if key not in required)]
    for key in content:
        if key not in known:
            raise ProfileError(f'{prefix}{key}: {one_of(known, key)}')


def _positions(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        positions = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ProfileError(f'{name}: expected [x, y, z] of each antenna, got {values!r}') from None
    if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
        raise ProfileError(f'{name}: expected [x, y, z] of each antenna, got shape {positions.shape}')
    if not np.all(np.isfinite(positions)):
        raise ProfileError(f'{name}: expected finite positions, got {positions.tolist()}')
    positions.setflags(write=False)
    return positions


def _positive(name: str, value: Any) -> float:
    # YAML reads 77e9 as a text: its numbers want a decimal point and a signed exponent
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (math.isfinite(number) and number > 0):
        raise ProfileError(f'{name}: expected a number above 0, got {value!r}')
    return number


def _number(name: str, value: Any, least: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number < least:
        expected = 'a finite number' if least == -math.inf else f'a number from {least:g} on'
        raise ProfileError(f'{name}: expected {expected}, got {value!r}')
    return number


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ProfileError(f'{name}: expected an integer of at least {least}, got {value!r}')
    return int(value)
