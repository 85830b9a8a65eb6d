# SPDX-License-Identifier: Apache-2.0
"""Logging of a launch: to the screen, to launch.log in the launch's own log folder, and to files per process."""

from __future__ import annotations

import datetime
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

_ALIASES = {
    'default': '[{levelname}] [{name}]: {message}',
    'default_with_timestamp': '{created:.7f} [{levelname}] [{name}]: {message}',
}
_OUTPUT_ALIASES: dict[str, dict[str, set[str]]] = {
    'screen': {'both': {'screen'}},
    'log': {'both': {'log'}, 'stderr': {'screen'}},
    'both': {'both': {'log', 'screen'}},
    'own_log': {'both': {'own_log'}, 'stdout': {'own_log'}, 'stderr': {'own_log'}},
    'full': {'both': {'screen', 'log', 'own_log'}, 'stdout': {'own_log'}, 'stderr': {'own_log'}},
}


class _FormatterPerLogger:
    """What lets one handler write the records of some loggers in another format."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._formatters: dict[str, logging.Formatter] = {}

    def setFormatterFor(self, logger: logging.Logger | str, formatter: logging.Formatter) -> None:
        """Set the format of one logger's records."""
        self._formatters[logger if isinstance(logger, str) else logger.name] = formatter

    def unsetFormatterFor(self, logger: logging.Logger | str) -> None:
        """Go back to the handler's own format for a logger's records."""
        self._formatters.pop(logger if isinstance(logger, str) else logger.name, None)

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        formatter = self._formatters.get(record.name)
        return formatter.format(record) if formatter is not None else super().format(record)


class ScreenHandler(_FormatterPerLogger, logging.StreamHandler):
    """Writes to whatever `sys.stdout` is; a reader that goes away ends the writing, not the launch."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._reader_gone = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record and a line feed."""
        stream = sys.stdout
        if stream is None or stream.closed or self._reader_gone:
            return
        text = self.format(record) + '\n'
        try:
            try:
                stream.write(text)
            except UnicodeEncodeError:
                stream.write(text.encode(stream.encoding, 'replace').decode(stream.encoding))
            stream.flush()
        except BrokenPipeError:
            self._reader_gone = True
            # The interpreter flushes stdout once more at its end, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            get_logger('launch').warning(
                'nobody reads the screen output any more, from here on it goes to log files only'
            )
        except Exception:
            self.handleError(record)


class LogFileHandler(_FormatterPerLogger, logging.FileHandler):
    """Writes to a file in the log folder; both are made with the first record."""

    def __init__(self, file_name: str) -> None:
        super().__init__(file_name, encoding='utf-8', delay=True)
        self._file_name = file_name

    def _open(self) -> TextIO:
        self.baseFilename = launch_config.get_log_file_path(self._file_name)
        return super()._open()


def base_log_directory() -> Path:
    """Return $ROS_LOG_DIR, else $ROS_HOME/log, else ~/.ros/log."""
    directory = os.environ.get('ROS_LOG_DIR')
    if not directory:
        directory = str(Path(os.environ.get('ROS_HOME') or '~/.ros') / 'log')
    return Path(os.path.normpath(Path(directory).expanduser()))


class LaunchConfig:
    """Settings of the logging of launches in this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all settings."""
        self._log_dir: str | None = None
        self.screen_handler: ScreenHandler | None = None
        self.file_handlers: dict[str, LogFileHandler] = {}
        self.level = logging.INFO
        self.set_screen_format('default')
        self.set_log_format('default_with_timestamp')

    @property
    def level(self) -> int:
        """The least level that is logged."""
        return logging.getLogger().getEffectiveLevel()

    @level.setter
    def level(self, new_level: int) -> None:
        logging.getLogger().setLevel(new_level)

    @property
    def log_dir(self) -> str:
        """The log folder of this launch, made when first asked for.

        Raises:
            RuntimeError: if it cannot be made.
        """
        if self._log_dir is None:
            self._log_dir = str(self._make_log_directory())
        return self._log_dir

    @log_dir.setter
    def log_dir(self, new_log_dir: str | None) -> None:
        if new_log_dir is not None and not Path(new_log_dir).is_dir():
            raise ValueError(f"log directory '{new_log_dir}' is not a directory")
        self._log_dir = new_log_dir

    @staticmethod
    def _make_log_directory() -> Path:
        base = base_log_directory()
        while True:
            now = datetime.datetime.now().strftime('%Y-%m-%d-%H-%M-%S-%f')
            directory = base / f'{now}-{socket.gethostname()}-{os.getpid()}'
            try:
                directory.mkdir(parents=True)
                break
            except FileExistsError as error:
                if not directory.is_dir():
                    raise RuntimeError(f"cannot make the log directory '{directory}': {error}") from error
            except OSError as error:
                hint = 'set ROS_LOG_DIR to a writable folder'
                raise RuntimeError(f"cannot make the log directory '{directory}': {error.strerror}; {hint}") from error
        latest = base / 'latest'
        fresh = base / f'.latest-{os.getpid()}'
        try:
            if latest.exists() and not latest.is_symlink():
                raise OSError(f"'{latest}' is not a link")
            fresh.symlink_to(directory, target_is_directory=True)
            fresh.replace(latest)
        except OSError as error:
            warnings.warn(f'cannot renew the link to the latest log directory: {error}', stacklevel=2)
        return directory

    def set_screen_format(self, screen_format: str | None, *, screen_style: str | None = None) -> None:
        """Set the format of what launch itself prints.

        Args:
            screen_format: 'default', 'default_with_timestamp' or a format of `logging.Formatter`; the environment
                variable OVERRIDE_LAUNCH_SCREEN_FORMAT goes before it.
            screen_style: style of a format that is no alias.
        """
        self.screen_formatter = _formatter('OVERRIDE_LAUNCH_SCREEN_FORMAT', screen_format, screen_style)
        if self.screen_handler is not None:
            self.screen_handler.setFormatter(self.screen_formatter)

    def set_log_format(self, log_format: str | None, *, log_style: str | None = None) -> None:
        """Set the format of what launch itself writes to launch.log; see `set_screen_format()`."""
        if log_format == 'default':
            log_format = 'default_with_timestamp'
        self.file_formatter = _formatter('OVERRIDE_LAUNCH_LOG_FORMAT', log_format, log_style)
        for handler in self.file_handlers.values():
            handler.setFormatter(self.file_formatter)

    def get_screen_handler(self) -> ScreenHandler:
        """Return the one handler for the screen."""
        if self.screen_handler is None:
            self.screen_handler = ScreenHandler()
            self.screen_handler.setFormatter(self.screen_formatter)
        return self.screen_handler

    def get_log_file_path(self, file_name: str = 'launch.log') -> str:
        """Return the path of a file in the log folder."""
        return str(Path(self.log_dir) / file_name)

    def get_log_file_handler(self, file_name: str = 'launch.log') -> LogFileHandler:
        """Return the one handler for a file in the log folder."""
        if file_name not in self.file_handlers:
            handler = LogFileHandler(file_name)
            handler.setFormatter(self.file_formatter)
            self.file_handlers[file_name] = handler
        return self.file_handlers[file_name]


def _formatter(variable: str, text: str | None, style: str | None) -> logging.Formatter | None:
    override = os.environ.get(variable)
    if override:
        text, style = override.encode('latin1', 'backslashreplace').decode('unicode_escape'), '{'
    if text is None:
        return None
    if text in _ALIASES:
        if style is not None:
            raise ValueError(f'log format "{text}" has a style of its own: got style {style!r}')
        text = _ALIASES[text]
    return logging.Formatter(text, style=style or '{')


launch_config = LaunchConfig()


def reset() -> None:
    """Forget all settings and the output of all loggers."""
    for logger in (logging.getLogger(), *(logging.getLogger(name) for name in logging.Logger.manager.loggerDict)):
        for handler in [handler for handler in logger.handlers if isinstance(handler, _FormatterPerLogger)]:
            logger.setLevel(logging.NOTSET)
            logger.removeHandler(handler)
            handler.close()
    launch_config.reset()


def log_launch_config(*, logger: logging.Logger | None = None) -> None:
    """Log where the log files are."""
    logger = logger or logging.getLogger()
    logger.info(f'All log files can be found below {launch_config.log_dir}')
    logger.info(f'Default logging verbosity is set to {logging.getLevelName(launch_config.level)}')


def get_logger(name: str | None = None) -> logging.Logger:
    """Return a logger that writes to the screen and to launch.log."""
    logger = logging.getLogger(name)
    if name is not None:
        logger.propagate = False
    for handler in (launch_config.get_screen_handler(), launch_config.get_log_file_handler()):
        logger.addHandler(handler)
    return logger


def _normalize_output(config: str | Mapping[str, str | Iterable[str]]) -> dict[str, set[str]]:
    """Return the destinations per source ('stdout', 'stderr', 'both')."""
    if isinstance(config, str):
        if config not in _OUTPUT_ALIASES:
            raise ValueError(f"output '{config}' is not one of {sorted(_OUTPUT_ALIASES)}")
        config = _OUTPUT_ALIASES[config]
    elif not isinstance(config, Mapping):
        raise ValueError(f'output must be a str or a dict, got {config!r}')
    normalized: dict[str, set[str]] = {'stdout': set(), 'stderr': set(), 'both': set()}
    for source, destinations in config.items():
        if source not in normalized:
            raise ValueError(f"output source '{source}' is not one of {sorted(normalized)}")
        normalized[source] = {destinations} if isinstance(destinations, str) else set(destinations)
        if not normalized[source] <= {'screen', 'log', 'own_log'}:
            got = sorted(normalized[source])
            raise ValueError(f"output destinations {got} of {source} are not all among ['log', 'own_log', 'screen']")
    return normalized


def get_output_loggers(
    process_name: str, output_config: str | Mapping[str, str | Iterable[str]]
) -> tuple[logging.Logger, logging.Logger]:
    """Return the loggers of a process's stdout and stderr.

    Args:
        process_name: name of the process, and of its own log files.
        output_config: 'screen', 'log' (launch.log, stderr on the screen too), 'both' (screen and launch.log),
            'own_log' (files of its own), 'full' (all of them), or a dict from 'stdout', 'stderr' or 'both' to one or
            more of 'screen', 'log', 'own_log'.

    Raises:
        ValueError: if `output_config` is none of these.
    """
    output = _normalize_output(output_config)
    loggers = []
    for source in ('stdout', 'stderr'):
        logger = logging.getLogger(f'{process_name}-{source}')
        logger.propagate = False
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        destinations = output['both'] | output[source]
        if 'screen' in destinations:
            screen = launch_config.get_screen_handler()
            screen.setFormatterFor(logger, logging.Formatter('{message}', style='{'))
            logger.addHandler(screen)
        if 'log' in destinations:
            launch_log = launch_config.get_log_file_handler()
            launch_log.setFormatterFor(logger, logging.Formatter('{created:.7f} {message}', style='{'))
            logger.addHandler(launch_log)
        own_files = [f'{process_name}-{source}.log'] if 'own_log' in output[source] else []
        own_files += [f'{process_name}.log'] if 'own_log' in output['both'] else []
        for file_name in own_files:
            own_log = launch_config.get_log_file_handler(file_name)
            own_log.setFormatter(logging.Formatter('{message}', style='{'))
            logger.addHandler(own_log)
        # With no destination at all the standard library would print warnings and above itself.
        logger.addHandler(logging.NullHandler())
        loggers.append(logger)
    return loggers[0], loggers[1]
