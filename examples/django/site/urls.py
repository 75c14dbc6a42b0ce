from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

import views

urlpatterns = [
    path("", views.catalogue),
    path("login/", LoginView.as_view(extra_context={"title": "Log in"})),
    path("logout/", LogoutView.as_view()),
]
