"""E-mail: a message to each person who is asked, and a page where they answer.

    a request → a card of it → one letter a person, by SMTP
    the link in it → a page that only shows → a form → the code from the letter → the desk

Whatever follows links follows these too, so a link grants a look and nothing else: nothing is
decided by GET or HEAD, nor by a form without the code, which stands in the letter and not in
the link.
"""

from saferun.channel.email.email import Email

__all__ = ["Email"]
