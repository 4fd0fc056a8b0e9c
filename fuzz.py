import sys, random, time

sys.path.insert(0, "/tmp/x")
import io, evtx as E, collections

d = open("/tmp/x/a.evtx", "rb").read()
c = collections.Counter()
t = time.time()
for s in range(1500):
    r = random.Random(s)
    b = bytearray(d)
    for _ in range(r.choice([1, 3, 20])):
        i = r.choice([r.randrange(4096, 4096 + 512 + 3000), r.randrange(200)])
        b[i] = r.randrange(256)
    if r.random() < 0.2:
        b = b[: r.randrange(len(b))]
    try:
        p = E.PyEvtxParser(io.BytesIO(bytes(b)), 1)
        it = p.records()
        n = 0
        while n < 10000:
            n += 1
            try:
                x = next(it)
                c["ok"] += 1
            except StopIteration:
                break
            except RuntimeError:
                c["rt"] += 1
        if n >= 10000:
            c["endless"] += 1
            print("endless", s)
    except BaseException as e:
        c[type(e).__name__] += 1
        if c[type(e).__name__] < 3:
            print(s, type(e).__mro__, str(e)[:200])
    if time.time() - t > 60:
        print("time", s)
        break
print(c, time.time() - t)
