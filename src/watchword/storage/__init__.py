"""Rows and short-lived values: the contracts, the engines behind them, the migrations."""
