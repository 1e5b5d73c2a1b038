/**
 * The self-signed certificate that carries a device key through TLS. It means nothing by itself:
 * both ends compare the key's hash with their trust list. So it holds no name, never expires
 * (RFC 5280 section 4.1.2.5, 99991231235959Z) and is a pure function of the key, made anew at
 * every start and kept in memory only.
 * Source: RFC 5280 section 4.1, RFC 8410 (Ed25519 in X.509).
 */
import { createHash, createPublicKey, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";

const OID_ED25519 = "1.3.101.112";
const OID_COMMON_NAME = "2.5.4.3";
const OID_SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const OID_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const SERIAL_BYTES = 16;

/**
 * Makes the certificate (PEM) for an Ed25519 private key.
 * Cost: about 90 ms for loading the library at first, then 2 ms; hence the late import.
 */
export async function makeCertificate(privateKey: KeyObject): Promise<string> {
  const [x509, { AsnConvert, OctetString }] = await Promise.all([
    import("@peculiar/asn1-x509"),
    import("@peculiar/asn1-schema"),
  ]);
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const serial = createHash("sha256").update("serial").update(spki).digest();
  // A positive integer without a leading zero byte, as DER wants it.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const name = new x509.Name([
    new x509.RelativeDistinguishedName([
      new x509.AttributeTypeAndValue({
        type: OID_COMMON_NAME,
        value: new x509.AttributeValue({ utf8String: "lockstep" }),
      }),
    ]),
  ]);
  const extension = (extnID: string, critical: boolean, value: unknown) =>
    new x509.Extension({
      extnID,
      critical,
      extnValue: new OctetString(AsnConvert.serialize(value)),
    });
  const tbsCertificate = new x509.TBSCertificate({
    version: x509.Version.v3,
    serialNumber: bufferOf(serial.subarray(0, SERIAL_BYTES)),
    signature: new x509.AlgorithmIdentifier({ algorithm: OID_ED25519 }),
    issuer: name,
    subject: name,
    validity: new x509.Validity({
      notBefore: new Date("2020-01-01T00:00:00Z"),
      notAfter: new Date("9999-12-31T23:59:59Z"),
    }),
    subjectPublicKeyInfo: AsnConvert.parse(spki, x509.SubjectPublicKeyInfo),
    extensions: new x509.Extensions([
      extension(x509.id_ce_basicConstraints, true, new x509.BasicConstraints({ cA: false })),
      extension(x509.id_ce_keyUsage, true, new x509.KeyUsage(x509.KeyUsageFlags.digitalSignature)),
      extension(
        x509.id_ce_extKeyUsage,
        false,
        new x509.ExtendedKeyUsage([OID_SERVER_AUTH, OID_CLIENT_AUTH]),
      ),
    ]),
  });
  const signature = sign(null, Buffer.from(AsnConvert.serialize(tbsCertificate)), privateKey);
  const certificate = new x509.Certificate({
    tbsCertificate,
    signatureAlgorithm: new x509.AlgorithmIdentifier({ algorithm: OID_ED25519 }),
    signatureValue: bufferOf(signature),
  });
  const base64 = Buffer.from(AsnConvert.serialize(certificate)).toString("base64");
  const lines = base64.match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
