"""Questions about speed and size, each a module, answered beside the peers and beside bare asyncio."""
