/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.3 on a connected socket, by the OpenSSL that node itself carries: one call encrypts and
 * writes, one call reads and decrypts, with no stream and no copy between. Node's own TLS sockets
 * cost three times as much for a small message (docs/adr/0019-native-tls.md).
 *
 * Here is only the moving of bytes. Who the peer is gets judged in TypeScript
 * (transport/peer-judge.ts): the certificate's chain and names mean nothing, its key everything.
 * OpenSSL verifies that the peer holds that key; nothing here can switch that off.
 *
 * Node exports OpenSSL's functions to addons but ships no headers with Node-API's, so the few that
 * are used are declared here, as documented for OpenSSL 3 (stable within the major version).
 */
#include "addon.h"
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct ssl_method_st SSL_METHOD;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;
typedef struct x509_st X509;
typedef struct x509_store_ctx_st X509_STORE_CTX;
typedef struct evp_pkey_st EVP_PKEY;

extern const SSL_METHOD *TLS_method(void);
extern SSL_CTX *SSL_CTX_new(const SSL_METHOD *method);
extern void SSL_CTX_free(SSL_CTX *context);
extern long SSL_CTX_ctrl(SSL_CTX *context, int command, long number, void *pointer);
extern uint64_t SSL_CTX_set_options(SSL_CTX *context, uint64_t options);
extern int SSL_CTX_set_ciphersuites(SSL_CTX *context, const char *names);
extern int SSL_CTX_set_num_tickets(SSL_CTX *context, size_t count);
extern void SSL_CTX_set_default_read_buffer_len(SSL_CTX *context, size_t bytes);
extern int SSL_CTX_use_certificate(SSL_CTX *context, X509 *certificate);
extern int SSL_CTX_use_PrivateKey(SSL_CTX *context, EVP_PKEY *key);
extern void SSL_CTX_set_verify(SSL_CTX *context, int mode, int (*callback)(int, X509_STORE_CTX *));
extern void SSL_CTX_set_alpn_select_cb(SSL_CTX *context,
	int (*callback)(SSL *, const unsigned char **, unsigned char *, const unsigned char *,
			unsigned, void *),
	void *argument);
extern int SSL_select_next_proto(unsigned char **out, unsigned char *out_bytes,
				 const unsigned char *server, unsigned server_bytes,
				 const unsigned char *client, unsigned client_bytes);
extern SSL *SSL_new(SSL_CTX *context);
extern void SSL_free(SSL *ssl);
extern int SSL_set_fd(SSL *ssl, int fd);
extern int SSL_set_ex_data(SSL *ssl, int index, void *data);
extern void *SSL_get_ex_data(const SSL *ssl, int index);
extern int SSL_set_alpn_protos(SSL *ssl, const unsigned char *list, unsigned bytes);
extern void SSL_set_accept_state(SSL *ssl);
extern void SSL_set_connect_state(SSL *ssl);
extern int SSL_do_handshake(SSL *ssl);
extern int SSL_read(SSL *ssl, void *into, int bytes);
extern int SSL_write(SSL *ssl, const void *from, int bytes);
extern int SSL_shutdown(SSL *ssl);
extern int SSL_has_pending(const SSL *ssl);
extern int SSL_get_error(const SSL *ssl, int returned);
extern const char *SSL_get_version(const SSL *ssl);
extern int SSL_session_reused(const SSL *ssl);
extern X509 *SSL_get1_peer_certificate(const SSL *ssl);
extern void SSL_get0_alpn_selected(const SSL *ssl, const unsigned char **name, unsigned *bytes);
extern int SSL_export_keying_material(SSL *ssl, unsigned char *out, size_t bytes,
				      const char *label, size_t label_bytes,
				      const unsigned char *context, size_t context_bytes,
				      int use_context);
extern X509 *d2i_X509(X509 **out, const unsigned char **bytes, long length);
extern int i2d_X509(const X509 *certificate, unsigned char **out);
extern void X509_free(X509 *certificate);
extern EVP_PKEY *d2i_AutoPrivateKey(EVP_PKEY **out, const unsigned char **bytes, long length);
extern void EVP_PKEY_free(EVP_PKEY *key);
extern unsigned long ERR_peek_last_error(void);
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;
extern BIO_METHOD *BIO_meth_new(int type, const char *name);
extern int BIO_meth_set_write(BIO_METHOD *method, int (*write)(BIO *, const char *, int));
extern int BIO_meth_set_ctrl(BIO_METHOD *method, long (*ctrl)(BIO *, int, long, void *));
extern BIO *BIO_new(const BIO_METHOD *method);
extern void BIO_set_data(BIO *bio, void *data);
extern void *BIO_get_data(BIO *bio);
extern void BIO_set_init(BIO *bio, int init);
extern void SSL_set0_wbio(SSL *ssl, BIO *bio);
extern void ERR_clear_error(void);
extern const char *ERR_reason_error_string(unsigned long error);

enum {
	CTRL_MODE = 33,
	CTRL_SET_READ_AHEAD = 41,
	CTRL_SET_SESS_CACHE_MODE = 44,
	CTRL_SET_SIGALGS_LIST = 98,
	CTRL_SET_MIN_PROTO_VERSION = 123,
	CTRL_SET_MAX_PROTO_VERSION = 124,
	TLS1_3 = 0x0304,
	MODE_ENABLE_PARTIAL_WRITE = 1,
	MODE_ACCEPT_MOVING_WRITE_BUFFER = 2,
	VERIFY_PEER = 1,
	VERIFY_FAIL_IF_NO_PEER_CERT = 2,
	ALPN_OK = 0,
	ALPN_ALERT_FATAL = 2,
	NPN_NEGOTIATED = 1,
	ERROR_SSL = 1,
	ERROR_WANT_READ = 2,
	ERROR_WANT_WRITE = 3,
	ERROR_SYSCALL = 5,
	ERROR_ZERO_RETURN = 6,
	REASON_UNEXPECTED_EOF = 294,
	BIO_CTRL_FLUSH = 11,
	BIO_TYPE_SOURCE_SINK = 0x0400,
};
#define OP_NO_TICKET (1ull << 14)
#define OP_NO_RENEGOTIATION (1ull << 30)

/* Results beside -errno; the same numbers stand in src/world/tls.ts. */
enum { TLS_WANTS_WRITE = -4096, TLS_CUT = -4097, TLS_BROKEN = -4098 };

/* All three that OpenSSL offers; the one that costs least first. */
#define CIPHER_SUITES \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* Some four records of ciphertext in one read(). */
#define READ_BUFFER_BYTES 67072
#define REASON_BYTES 96
/* Records are gathered up to this, then sent in one call. */
#define SEND_BYTES 131072
/* What the socket does not take is kept up to this, and a record. */
#define OWED_BYTES_MAX 524288
#define OWED_BYTES_MIN 2048
/* Of one tlsWrite: above its bits stands what is owed. */
#define WRITE_BITS 24

struct tls {
	SSL *ssl;
	int fd;
	uint8_t *protocols; /* what a server accepts, in ALPN's form */
	unsigned protocol_bytes;
	uint8_t *out; /* records that the socket has not taken: from out_start to out_end */
	size_t out_start, out_end, out_room;
	bool is_end_said;
	char reason[REASON_BYTES];
};

static size_t owed(const struct tls *t)
{
	return t->out_end - t->out_start;
}

/* OpenSSL's side: a record is kept, and leaves with the next flush. */
static int keep_record(BIO *bio, const char *from, int bytes)
{
	struct tls *t = BIO_get_data(bio);
	size_t need = (size_t)bytes;
	if (t->out_room - t->out_end < need && t->out_start > 0) {
		memmove(t->out, t->out + t->out_start, owed(t));
		t->out_end -= t->out_start;
		t->out_start = 0;
	}
	if (t->out_room - t->out_end < need) {
		size_t room = t->out_room ? t->out_room : OWED_BYTES_MIN;
		while (room - t->out_end < need) room *= 2;
		uint8_t *larger = realloc(t->out, room);
		if (!larger) return -1;
		t->out = larger;
		t->out_room = room;
	}
	memcpy(t->out + t->out_end, from, need);
	t->out_end += need;
	return bytes;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
	return command == BIO_CTRL_FLUSH;
}

static BIO *gatherer(struct tls *t)
{
	static BIO_METHOD *method;
	if (!method) {
		method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lockstep");
		if (!method) return NULL;
		BIO_meth_set_write(method, keep_record);
		BIO_meth_set_ctrl(method, control);
	}
	BIO *bio = BIO_new(method);
	if (!bio) return NULL;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	return bio;
}

static bool gather(struct tls *t)
{
	BIO *bio = gatherer(t);
	if (bio) SSL_set0_wbio(t->ssl, bio);
	return bio;
}

/* Sends what is owed. 0 also when the socket does not take all; else -errno. */
static int64_t flush(struct tls *t)
{
	while (t->out_start < t->out_end) {
		ssize_t n = send(t->fd, t->out + t->out_start, owed(t), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return errno == EAGAIN ? 0 : -errno;
		t->out_start += (size_t)n;
	}
	t->out_start = t->out_end = 0;
	return 0;
}

static int believe_anyone(int preverified, X509_STORE_CTX *store)
{
	return 1; /* the key is judged after the handshake */
}

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
			   const unsigned char *offered, unsigned offered_bytes, void *unused)
{
	const struct tls *t = SSL_get_ex_data(ssl, 0);
	unsigned char *chosen;
	if (SSL_select_next_proto(&chosen, out_bytes, t->protocols, t->protocol_bytes, offered,
				  offered_bytes) != NPN_NEGOTIATED)
		return ALPN_ALERT_FATAL;
	*out = chosen;
	return ALPN_OK;
}

static void free_context(napi_env env, void *data, void *hint)
{
	SSL_CTX_free(data);
}

static bool configure(SSL_CTX *c, struct bytes certificate, struct bytes key)
{
	const unsigned char *at = certificate.data;
	X509 *x = d2i_X509(NULL, &at, (long)certificate.length);
	at = key.data;
	EVP_PKEY *k = d2i_AutoPrivateKey(NULL, &at, (long)key.length);
	bool ok = x && k && SSL_CTX_use_certificate(c, x) == 1 &&
		  SSL_CTX_use_PrivateKey(c, k) == 1 &&
		  SSL_CTX_ctrl(c, CTRL_SET_MIN_PROTO_VERSION, TLS1_3, NULL) == 1 &&
		  SSL_CTX_ctrl(c, CTRL_SET_MAX_PROTO_VERSION, TLS1_3, NULL) == 1 &&
		  SSL_CTX_ctrl(c, CTRL_SET_SIGALGS_LIST, 0, "ed25519") == 1 &&
		  SSL_CTX_set_ciphersuites(c, CIPHER_SUITES) == 1 &&
		  SSL_CTX_set_num_tickets(c, 0) == 1;
	X509_free(x);
	EVP_PKEY_free(k);
	if (!ok) return false;
	/* No session is kept or resumed: a link always starts with both keys proven. */
	SSL_CTX_ctrl(c, CTRL_SET_SESS_CACHE_MODE, 0, NULL);
	SSL_CTX_set_options(c, OP_NO_TICKET | OP_NO_RENEGOTIATION);
	SSL_CTX_set_verify(c, VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, believe_anyone);
	SSL_CTX_set_alpn_select_cb(c, select_protocol, NULL);
	SSL_CTX_ctrl(c, CTRL_MODE, MODE_ENABLE_PARTIAL_WRITE | MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
	SSL_CTX_ctrl(c, CTRL_SET_READ_AHEAD, 1, NULL);
	SSL_CTX_set_default_read_buffer_len(c, READ_BUFFER_BYTES);
	return true;
}

/* tlsContext(certificate, key): handle; both in DER, the key as PKCS #8. Throws. */
FUNCTION(tls_context)
{
	struct args a = args_of(env, info);
	napi_value out = NULL;
	/* Bound at the first call: a node without these would end the process there. */
	if (!dlsym(RTLD_DEFAULT, "SSL_get1_peer_certificate")) {
		napi_throw_error(env, "TLS_MISSING", "this node does not export OpenSSL 3");
		return NULL;
	}
	ERR_clear_error();
	SSL_CTX *c = SSL_CTX_new(TLS_method());
	if (!c || !configure(c, arg_bytes(&a, 0), arg_bytes(&a, 1))) {
		const char *why = ERR_reason_error_string(ERR_peek_last_error());
		SSL_CTX_free(c);
		napi_throw_error(env, "TLS_CONTEXT", why ? why : "the key or certificate is unusable");
		return NULL;
	}
	napi_create_external(env, c, free_context, NULL, &out);
	return out;
}

static void release(struct tls *t)
{
	SSL_free(t->ssl);
	t->ssl = NULL;
	free(t->out);
	t->out = NULL;
	t->out_start = t->out_end = t->out_room = 0;
	if (t->fd >= 0) close(t->fd);
	t->fd = -1;
}

static void free_tls(napi_env env, void *data, void *hint)
{
	struct tls *t = data;
	release(t);
	free(t->protocols);
	free(t);
}

/*
 * tlsOpen(context, fd, isServer, protocols): handle. Works on a duplicate of the descriptor, which
 * stays the caller's. `protocols` is in ALPN's form: each a length byte and its name. Throws.
 */
FUNCTION(tls_open)
{
	struct args a = args_of(env, info);
	void *context = arg_handle(&a, 0);
	napi_value out = NULL;
	struct bytes protocols = arg_bytes(&a, 3);
	struct tls *t = calloc(1, sizeof *t);
	t->protocols = malloc(protocols.length + 1);
	memcpy(t->protocols, protocols.data, protocols.length);
	t->protocol_bytes = (unsigned)protocols.length;
	t->fd = fcntl(arg_int(&a, 1), F_DUPFD_CLOEXEC, 3);
	t->ssl = SSL_new(context);
	bool ok = t->fd >= 0 && t->ssl && SSL_set_fd(t->ssl, t->fd) == 1 &&
		  SSL_set_ex_data(t->ssl, 0, t) == 1 && gather(t) &&
		  fcntl(t->fd, F_SETFL, fcntl(t->fd, F_GETFL) | O_NONBLOCK) == 0;
	if (ok && arg_int(&a, 2)) {
		SSL_set_accept_state(t->ssl);
	} else if (ok) {
		ok = SSL_set_alpn_protos(t->ssl, t->protocols, t->protocol_bytes) == 0;
		SSL_set_connect_state(t->ssl);
	}
	if (!ok) {
		free_tls(env, t, NULL);
		napi_throw_error(env, "TLS_OPEN", "the connection cannot be secured");
		return NULL;
	}
	napi_create_external(env, t, free_tls, NULL, &out);
	return out;
}

static struct tls *tls_of(const struct args *a)
{
	return arg_handle(a, 0);
}

/* What a call of OpenSSL that returned `returned` (not above 0) means. */
static int64_t meaning(struct tls *t, int returned)
{
	int saved = errno;
	int error = SSL_get_error(t->ssl, returned);
	if (error == ERROR_WANT_READ) return -EAGAIN;
	if (error == ERROR_WANT_WRITE) return TLS_WANTS_WRITE;
	if (error == ERROR_ZERO_RETURN) return 0;
	if (error == ERROR_SYSCALL && saved != 0) return -saved;
	unsigned long last = ERR_peek_last_error();
	if (error == ERROR_SYSCALL || (last & 0x7fffff) == REASON_UNEXPECTED_EOF) return TLS_CUT;
	const char *why = ERR_reason_error_string(last);
	size_t at = 0;
	for (; why && why[at] && at < REASON_BYTES - 1; at++)
		t->reason[at] = why[at] == ' ' ? '_' : (char)toupper((unsigned char)why[at]);
	t->reason[at] = 0;
	return TLS_BROKEN;
}

static void prepare(void)
{
	ERR_clear_error();
	errno = 0;
}

static napi_value outcome(napi_env env, int64_t value)
{
	napi_value v;
	napi_create_int64(env, value, &v);
	return v;
}

/* tlsHandshake(handle): 1 when it is done. */
FUNCTION(tls_handshake)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	if (!t->ssl) return outcome(env, -EBADF);
	prepare();
	int done = SSL_do_handshake(t->ssl);
	int64_t r = done == 1 ? 1 : meaning(t, done);
	int64_t sent = flush(t);
	if (sent < 0 && (r == 1 || r == -EAGAIN)) r = sent;
	if (owed(t) && (r == 1 || r == -EAGAIN)) r = TLS_WANTS_WRITE;
	return outcome(env, r == 0 ? TLS_CUT : r);
}

int64_t tls_get(void *tls, uint8_t *into, size_t room)
{
	struct tls *t = tls;
	if (!t->ssl) return -EBADF;
	size_t total = 0;
	bool more = true;
	while (total < room && more) {
		prepare();
		int got = SSL_read(t->ssl, into + total, (int)(room - total));
		if (got <= 0) {
			int64_t why = meaning(t, got);
			if (owed(t)) flush(t); /* an alert */
			return total == 0 ? why : (int64_t)total * 2 + (why != -EAGAIN);
		}
		total += (size_t)got;
		more = SSL_has_pending(t->ssl);
	}
	/* An answer to the peer's TLS, if there is one; what fails here fails with the next write. */
	if (owed(t)) flush(t);
	return (int64_t)total * 2 + more;
}

/*
 * tlsRead(handle, into): twice the bytes read, plus 1 when there is more to read or to learn
 * already; 0 when the peer has said that it sends no more.
 */
FUNCTION(tls_read)
{
	struct args a = args_of(env, info);
	struct bytes into = arg_bytes(&a, 1);
	return outcome(env, tls_get(tls_of(&a), into.data, into.length));
}

bool tls_is_clear(const void *tls)
{
	const struct tls *t = tls;
	return t->ssl && owed(t) == 0;
}

int64_t tls_put(void *tls, const uint8_t *from, size_t length)
{
	struct tls *t = tls;
	size_t at = 0;
	int64_t why = owed(t) ? flush(t) : 0;
	while (why == 0 && at < length && owed(t) < OWED_BYTES_MAX) {
		prepare();
		int put = SSL_write(t->ssl, from + at, (int)(length - at));
		if (put <= 0) {
			why = meaning(t, put);
			if (why == 0) why = -EPIPE;
			break;
		}
		at += (size_t)put;
		if (owed(t) >= SEND_BYTES && at < length) why = flush(t);
	}
	if (why == 0) why = flush(t);
	if (why < 0 && at == 0) return why;
	return (int64_t)at + ((int64_t)owed(t) << WRITE_BITS);
}

/*
 * tlsWrite(handle, from, offset, length): bytes taken, plus 2^24 times the bytes, encrypted, that
 * the socket has not taken yet: call again when it is writable, if only with nothing.
 */
FUNCTION(tls_write)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	struct bytes from = arg_bytes(&a, 1);
	size_t at = arg_uint(&a, 2), length = arg_uint(&a, 3);
	if (!t->ssl) return outcome(env, -EBADF);
	if (at + length > from.length || length >> WRITE_BITS) return outcome(env, -EINVAL);
	return outcome(env, tls_put(t, from.data + at, length));
}

/* tlsEnd(handle): tells the peer that nothing more comes. 1 when told. */
FUNCTION(tls_end)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	if (!t->ssl) return outcome(env, -EBADF);
	prepare();
	if (!t->is_end_said) {
		int said = SSL_shutdown(t->ssl);
		if (said < 0) return outcome(env, meaning(t, said));
		t->is_end_said = true;
	}
	int64_t sent = flush(t);
	if (sent < 0) return outcome(env, sent);
	if (owed(t)) return outcome(env, TLS_WANTS_WRITE);
	shutdown(t->fd, SHUT_WR);
	return outcome(env, 1);
}

/* tlsClose(handle): closes the descriptor at once. Idempotent. */
FUNCTION(tls_close)
{
	struct args a = args_of(env, info);
	release(tls_of(&a));
	return NULL;
}

/* tlsFd(handle): its descriptor, for pollStart. */
FUNCTION(tls_fd)
{
	struct args a = args_of(env, info);
	return number(env, tls_of(&a)->fd);
}

static napi_value copy_of(napi_env env, const void *data, size_t bytes)
{
	napi_value out;
	napi_create_buffer_copy(env, bytes, data, NULL, &out);
	return out;
}

/* tlsCertificate(handle): the peer's, in DER; empty when it showed none. */
FUNCTION(tls_certificate)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	unsigned char *der = NULL;
	X509 *x = t->ssl ? SSL_get1_peer_certificate(t->ssl) : NULL;
	int bytes = x ? i2d_X509(x, NULL) : 0;
	if (bytes > 0) {
		unsigned char *at = der = malloc((size_t)bytes);
		i2d_X509(x, &at);
	}
	X509_free(x);
	napi_value out = copy_of(env, der, bytes > 0 ? (size_t)bytes : 0);
	free(der);
	return out;
}

static napi_value text(napi_env env, const char *bytes, size_t length)
{
	napi_value out;
	napi_create_string_latin1(env, bytes, length, &out);
	return out;
}

/* tlsProtocol(handle): the application protocol agreed on; empty when none. */
FUNCTION(tls_protocol)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	const unsigned char *name = NULL;
	unsigned bytes = 0;
	if (t->ssl) SSL_get0_alpn_selected(t->ssl, &name, &bytes);
	return text(env, name ? (const char *)name : "", bytes);
}

/* tlsVersion(handle): such as "TLSv1.3". */
FUNCTION(tls_version)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	return text(env, t->ssl ? SSL_get_version(t->ssl) : "", NAPI_AUTO_LENGTH);
}

/* tlsIsResumed(handle): 1 when keys were not proven anew. */
FUNCTION(tls_is_resumed)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	return number(env, t->ssl ? SSL_session_reused(t->ssl) : 1);
}

/* tlsReason(handle): why TLS_BROKEN. */
FUNCTION(tls_reason)
{
	struct args a = args_of(env, info);
	return text(env, tls_of(&a)->reason, NAPI_AUTO_LENGTH);
}

/* tlsExport(handle, label, into): fills `into` with keying material; 1, or 0 when it cannot. */
FUNCTION(tls_export)
{
	struct args a = args_of(env, info);
	struct tls *t = tls_of(&a);
	struct bytes label = arg_bytes(&a, 1), into = arg_bytes(&a, 2);
	int ok = t->ssl && SSL_export_keying_material(t->ssl, into.data, into.length,
						      (const char *)label.data, label.length, NULL,
						      0, 1) == 1;
	return number(env, ok);
}

void tls_exports(napi_env env, napi_value exports)
{
	export_function(env, exports, "tlsContext", tls_context);
	export_function(env, exports, "tlsOpen", tls_open);
	export_function(env, exports, "tlsFd", tls_fd);
	export_function(env, exports, "tlsHandshake", tls_handshake);
	export_function(env, exports, "tlsRead", tls_read);
	export_function(env, exports, "tlsWrite", tls_write);
	export_function(env, exports, "tlsEnd", tls_end);
	export_function(env, exports, "tlsClose", tls_close);
	export_function(env, exports, "tlsCertificate", tls_certificate);
	export_function(env, exports, "tlsProtocol", tls_protocol);
	export_function(env, exports, "tlsVersion", tls_version);
	export_function(env, exports, "tlsIsResumed", tls_is_resumed);
	export_function(env, exports, "tlsReason", tls_reason);
	export_function(env, exports, "tlsExport", tls_export);
}
