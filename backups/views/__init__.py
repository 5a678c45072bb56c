"""Pages: function views that check, call a service and render."""
