"""The relay: alerts from spend.alerts to the channels of a file, each on its own, each alert once.

channels (the file) → route (who gets what) → worker (a thread a channel) → targets (webhook, chat) → deliveries
"""
