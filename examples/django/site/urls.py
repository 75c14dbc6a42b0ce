from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

import views

urlpatterns = [
    path("", views.catalogue),
    path("login/", LoginView.as_view()),
    path("logout/", LogoutView.as_view()),
]
