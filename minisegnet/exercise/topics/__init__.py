"""The exercises by subject: small cases worked out by hand, cases of many shapes, known mistakes, hints."""
