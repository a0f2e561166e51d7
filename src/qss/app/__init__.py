"""Where a site is put together: configuration, data folder, adapters, composition root. No protocol here."""
