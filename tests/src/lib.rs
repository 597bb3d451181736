//! The fleet harness: starts the real binaries, impairs links, cuts power, counts what survives.
