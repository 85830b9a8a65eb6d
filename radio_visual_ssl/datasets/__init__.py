# SPDX-License-Identifier: Apache-2.0
"""Importers that turn public data sets into paired bags."""
