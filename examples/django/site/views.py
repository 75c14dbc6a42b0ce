from django.shortcuts import render

BOOKS = ["The Left Hand of Darkness", "Piranesi", "Middlemarch"]


def catalogue(request):
    # Each side writes its own members of the session: Django counts the visits, and the Effect server keeps the cart.
    request.session["visits"] = request.session.get("visits", 0) + 1
    return render(
        request,
        "catalogue.html",
        {"books": BOOKS, "cart": request.session.get("cart", []), "visits": request.session["visits"]},
    )
