"""The money's addresses."""

app_name = "cost"
urlpatterns: list[object] = []
