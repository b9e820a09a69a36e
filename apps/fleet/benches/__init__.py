"""What `make bench` measures. Each module has functions that give figures; `manage.py bench` prints them."""
