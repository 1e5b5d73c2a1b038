# Writes numbered transactions into a SQLite database until it is killed, or checks a copy of one.
#
#   write DATABASE MODE WRITER LOG     LOG: lines `B number` before a transaction is begun and
#                                      `C number ms` when its COMMIT has returned, never buffered
#   check DATABASE                     prints one JSON object
#   create DATABASE MODE
#
# Every transaction moves amounts between accounts, whose sum stays 0, and enters its number; numbers
# that are `kept` older go, so that the database does not grow. synchronous is off, since what the
# mirror promises is the order of what was written, whether or not it has reached a disk; the cache
# is small and checkpoints are frequent, so that many places change in every transaction.
import json, os, random, sqlite3, sys, time

kept, accounts = 1000, 3000


def body(writer, number):
    return ("%d:%d " % (writer, number)) * (1 + number % 9)


def connect(path, mode):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("PRAGMA journal_mode=" + mode)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=20")
    db.execute("PRAGMA wal_autocheckpoint=30")
    return db


def create(path, mode):
    db = connect(path, mode)
    db.execute("BEGIN IMMEDIATE")
    db.execute("CREATE TABLE ledger(writer INT, number INT, body TEXT, PRIMARY KEY(writer, number))")
    db.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, amount INT, filler TEXT)")
    rows = ((id, "f" * 300) for id in range(accounts))
    db.executemany("INSERT INTO account VALUES (?, 0, ?)", rows)
    db.execute("CREATE INDEX by_amount ON account(amount)")
    db.execute("COMMIT")


def write(path, mode, writer, log):
    db = connect(path, mode)
    told = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    last = [line for line in os.pread(told, 1 << 30, 0).decode().split("\n") if line[:1] == "B"]
    number = int(last[-1].split()[1]) if last else 0
    while True:
        # Whoever has the lock would get it again and again, and nobody else the processor.
        if random.random() < 0.5:
            time.sleep(random.uniform(0, 0.005))
        number += 1
        os.write(told, b"B %d\n" % number)
        db.execute("BEGIN IMMEDIATE")
        for _ in range(random.randint(1, 8)):
            amount, one, other = random.randint(1, 99), *random.sample(range(accounts), 2)
            db.execute("UPDATE account SET amount = amount - ? WHERE id = ?", (amount, one))
            db.execute("UPDATE account SET amount = amount + ? WHERE id = ?", (amount, other))
        entry = (writer, number, body(writer, number))
        db.execute("INSERT INTO ledger VALUES (?, ?, ?)", entry)
        db.execute("DELETE FROM ledger WHERE writer = ? AND number <= ?", (writer, number - kept))
        db.execute("COMMIT")
        os.write(told, b"C %d %.3f\n" % (number, time.time() * 1000))


def check(path):
    found = {"problems": [], "writers": {}}
    db = sqlite3.connect(path, timeout=5)
    answer = [row[0] for row in db.execute("PRAGMA integrity_check")]
    if answer != ["ok"]:
        found["problems"] += answer[:5]
    total, count = db.execute("SELECT sum(amount), count(*) FROM account").fetchone()
    if (total, count) != (0, accounts):
        found["problems"].append("%s accounts with a sum of %s" % (count, total))
    for writer, number, text in db.execute("SELECT * FROM ledger ORDER BY writer, number"):
        found["writers"].setdefault(str(writer), []).append(number)
        if text != body(writer, number):
            found["problems"].append("text of %d:%d" % (writer, number))
    print(json.dumps(found))


what, *args = sys.argv[1:]
if what == "create":
    create(*args)
elif what == "write":
    path, mode, writer, log = args
    write(path, mode, int(writer), log)
else:
    try:
        check(*args)
    except sqlite3.Error as error:
        print(json.dumps({"problems": ["%s: %s" % (type(error).__name__, error)], "writers": {}}))
