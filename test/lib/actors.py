"""Sessions that do one thing again and again for a while, each in a thread of its own."""
import random
import threading
import time

from harness import check

HANG_S = 120                    # this long after its time an actor counts as hanging


class Actor(threading.Thread):
    """act() is called until the time is up, once at least, or until it fails; done: how often it went well."""

    def __init__(self, server, seed, until):
        super().__init__(daemon=True)
        self.c, self.rng, self.until, self.problem, self.done = server.connect(), random.Random(seed), until, None, 0

    def run(self):
        try:
            while self.done == 0 or time.time() < self.until:
                self.act()
                self.done += 1
        except Exception as e:
            self.problem = '%s: %s' % (type(e).__name__, e)
        finally:
            self.c.close()

    def act(self):
        raise NotImplementedError


def start(kinds, server, seed, seconds):
    """One actor of each kind."""
    until = time.time() + seconds
    actors = [kind(server, seed * 100 + n, until) for n, kind in enumerate(kinds)]
    for a in actors:
        a.start()
    return actors


def finish(actors):
    """Waits for them; nobody hangs or fails.  How often each did its thing, in words."""
    for a in actors:
        a.join(max(0, a.until - time.time()) + HANG_S)
        check(not a.is_alive(), '%s hangs' % type(a).__name__)
        check(a.problem is None, '%s: %s' % (type(a).__name__, a.problem))
    return ', '.join('%s %d' % (type(a).__name__, a.done) for a in actors)
