# SPDX-License-Identifier: Apache-2.0
"""How strong an echo is against the thermal noise: the radar equation with a profile's front end."""

import math

from radio_visual_ssl.radar.profile import FmcwWaveform, FrontEnd, ProfileError, RadarProfile

BOLTZMANN = 1.380649e-23  # J/K


def noise_bandwidth(profile: RadarProfile) -> float:
    """Hz of thermal noise that compete with the whole transmitted power in one sample of the cube.

    OFDM shares its power out over the band: what one subcarrier has of the power and of the noise is in the same
    proportion. FMCW sends all its power at the beat frequency, against the noise of the ADC's band.
    """
    waveform = profile.waveform
    if isinstance(waveform, FmcwWaveform):
        return waveform.sample_rate if waveform.complex_samples else waveform.sample_rate / 2
    return waveform.bandwidth


def noise_power(profile: RadarProfile) -> float:
    """W, thermal noise at the receiver's input: k T F times the noise bandwidth.

    Raises:
        ProfileError: the profile has no front end.
    """
    front_end = _front_end(profile)
    noise_figure = 10 ** (front_end.noise_figure_db / 10)
    return BOLTZMANN * front_end.temperature * noise_figure * noise_bandwidth(profile)


def echo_power(profile: RadarProfile, rcs: float, distance: float) -> float:
    """W, received from a target on boresight in free space (radar equation).

    Args:
        profile: with a front end.
        rcs: m^2.
        distance: m.

    Raises:
        ProfileError: the profile has no front end.
    """
    front_end = _front_end(profile)
    level = front_end.tx_power_dbm - 30 + front_end.tx_gain_dbi + front_end.rx_gain_dbi - front_end.loss_db
    return 10 ** (level / 10) * profile.wavelength**2 * rcs / ((4 * math.pi) ** 3 * distance**4)


def sample_snr(profile: RadarProfile, rcs: float, distance: float) -> float:
    """Signal-to-noise ratio (linear) of one sample of the cube: one chirp or symbol, channel, ADC sample or subcarrier.

    Coherent integration multiplies it by the number of samples in the cube, less what the windows cost.

    Raises:
        ProfileError: the profile has no front end.
    """
    return echo_power(profile, rcs, distance) / noise_power(profile)


def _front_end(profile: RadarProfile) -> FrontEnd:
    if profile.front_end is None:
        raise ProfileError(f'front_end: expected one in radar profile {profile.name!r}, got none')
    return profile.front_end
