// What cert-manager makes of Certificates, by its own code: theirs as a JSON list on standard input, the authority's first;
// on standard output the Secrets by name, each with its files.
package main

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"log"
	"os"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
)

func main() {
	var asked []certmanager.Certificate
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	secrets := map[string]map[string]string{}
	var authority []*x509.Certificate
	var signer crypto.Signer
	for i := range asked {
		one := &asked[i]
		template, err := pki.CertificateTemplateFromCertificate(one)
		if err != nil {
			log.Fatalf("%s: %v", one.Name, err)
		}
		key, err := pki.GeneratePrivateKeyForCertificate(one)
		if err != nil {
			log.Fatalf("%s: %v", one.Name, err)
		}
		template.PublicKey = key.Public()
		signs, by := authority, signer
		if one.Spec.IsCA {
			signs, by = []*x509.Certificate{template}, key
		}
		_, made, err := pki.SignCertificate(template, signs[0], template.PublicKey, by)
		if err != nil {
			log.Fatalf("%s: %v", one.Name, err)
		}
		if one.Spec.IsCA {
			authority, signer = []*x509.Certificate{made}, key
		}
		bundle, err := pki.ParseSingleCertificateChain(append(append([]*x509.Certificate{}, authority...), made))
		if err != nil {
			log.Fatalf("%s: %v", one.Name, err)
		}
		encoding := certmanager.PKCS1
		if one.Spec.PrivateKey != nil {
			encoding = one.Spec.PrivateKey.Encoding
		}
		private, err := pki.EncodePrivateKey(key, encoding)
		if err != nil {
			log.Fatalf("%s: %v", one.Name, err)
		}
		secrets[one.Spec.SecretName] = map[string]string{
			"tls.crt": string(bundle.ChainPEM), "tls.key": string(private), "ca.crt": string(bundle.CAPEM),
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(secrets); err != nil {
		log.Fatal(err)
	}
}
