from django.shortcuts import render
from django.views.decorators.cache import never_cache

BOOKS = ["The Left Hand of Darkness", "Piranesi", "Middlemarch"]


# The back button shows no page of a visitor who has logged out.
@never_cache
def catalogue(request):
    session = request.session
    # Each side writes its own members of the session: Django counts the visits, and Effect keeps the cart and counts the orders.
    session["visits"] = session.get("visits", 0) + 1
    context = {"title": "Catalogue", "books": BOOKS, "visits": session["visits"], "orders": session.get("orders", 0)}
    return render(request, "catalogue.html", context)
