# SPDX-License-Identifier: Apache-2.0
"""Radar profiles: waveform, antenna positions and capture format of one radar, read from config/radars/*.yaml."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from radio_visual_ssl.share import share_path

SPEED_OF_LIGHT = 299_792_458.0


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
    """

    carrier_frequency: float
    slope: float
    sample_rate: float
    chirp_period: float
    num_chirps: int
    num_samples: int

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


@dataclass(frozen=True)
class OfdmWaveform:
    """Channel estimates on a comb of subcarriers, one set per symbol.

    Attributes:
        carrier_frequency: Hz, centre of the band.
        subcarrier_spacing: Hz between the subcarriers in the cube.
        symbol_period: s between the starts of consecutive symbols in the cube.
        num_symbols: symbols per frame.
        num_subcarriers: subcarriers in the cube.
    """

    carrier_frequency: float
    subcarrier_spacing: float
    symbol_period: float
    num_symbols: int
    num_subcarriers: int

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


@dataclass(frozen=True, eq=False)
class RadarProfile:
    """One radar: waveform and antennas.

    Attributes:
        name: of the profile.
        waveform: FMCW or OFDM.
        tx_positions, rx_positions: (T, 3) and (N, 3) float64, m, phase centres in the radar frame (REP-103).
        tx_order: transmitter index of each TDM slot; its length is the number of transmitters in the cube.
        calibration: (len(tx_order) * N,) complex64, factor of each virtual channel, receiver fastest; None = ones.
        capture: how a raw file of this radar is laid out (see radar/capture.py).

    Raises:
        ValueError: a field out of range or fields that contradict each other.
    """

    name: str
    waveform: FmcwWaveform | OfdmWaveform
    tx_positions: NDArray[np.float64]
    rx_positions: NDArray[np.float64]
    tx_order: tuple[int, ...] = ()
    calibration: NDArray[np.complex64] | None = None
    capture: dict[str, Any] = field(default_factory=dict)

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
