# Writes numbered transactions into a PostgreSQL database until it is gone: a client of libpq, which
# comes with every PostgreSQL, so that nothing else has to be installed.
#
#   SOCKET-FOLDER WRITER LOG     LOG: as in ledger-sqlite.py
import ctypes, os, random, sys, time

pq = ctypes.CDLL("libpq.so.5")
for name in ("PQconnectdb", "PQexec"):
    getattr(pq, name).restype = ctypes.c_void_p
pq.PQerrorMessage.restype = ctypes.c_char_p
commandOk = 1

folder, writer, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
kept = 1000
told = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
last = [line for line in os.pread(told, 1 << 30, 0).decode().split("\n") if line[:1] == "B"]
number = int(last[-1].split()[1]) if last else 0
db = ctypes.c_void_p(pq.PQconnectdb(b"host=%s user=postgres dbname=postgres" % folder.encode()))
while True:
    if random.random() < 0.5:
        time.sleep(random.uniform(0, 0.005))
    number += 1
    os.write(told, b"B %d\n" % number)
    # One call, one transaction.
    text = (
        b"BEGIN; INSERT INTO ledger VALUES (%d, %d, repeat('%d:%d ', %d));"
        b"DELETE FROM ledger WHERE writer = %d AND number <= %d; COMMIT"
    ) % (writer, number, writer, number, 1 + number % 9, writer, number - kept)
    result = ctypes.c_void_p(pq.PQexec(db, text))
    if pq.PQresultStatus(result) != commandOk:
        sys.exit(pq.PQerrorMessage(db).decode())
    pq.PQclear(result)
    os.write(told, b"C %d %.3f\n" % (number, time.time() * 1000))
