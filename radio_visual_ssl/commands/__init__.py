# SPDX-License-Identifier: Apache-2.0
"""The verbs of the radio-visual-ssl command, by subject; each module has a function that registers its own."""
