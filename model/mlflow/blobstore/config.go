// Package blobstore reaches the object stores that MLflow keeps artifacts in,
// S3 and its like, Google Cloud Storage and Azure Blob Storage, through
// gocloud.dev/blob. It is apart from model/mlflow for its many dependencies.
package blobstore

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// Config of the stores, by the names that MLflow and the stores' own tools have
// for it. Credentials that are not here come from each cloud's own chain:
// AWS_*, its files and its instance's role; GOOGLE_APPLICATION_CREDENTIALS,
// gcloud's file and the metadata server; AZURE_CLIENT_ID and its like, a
// workload's or a managed identity and the Azure CLI. The clouds' own libraries
// read those from the process's environment.
type Config struct {
	S3Endpoint   string `env:"MLFLOW_S3_ENDPOINT_URL" help:"Address of an S3-compatible store, such as http://minio:9000; without it, AWS."`
	S3IgnoreTLS  bool   `env:"MLFLOW_S3_IGNORE_TLS" envDefault:"false" help:"Do not verify the certificate of the S3 store."`
	S3Addressing string `env:"MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE" envDefault:"auto" help:"Where an S3 bucket's name goes: path, virtual (the host's name) or auto, which is path for an S3-compatible store."`

	AzureConnection string `env:"AZURE_STORAGE_CONNECTION_STRING" secret:"true" help:"Account, key and endpoint of the Azure store; before the access key."`
	AzureKey        string `env:"AZURE_STORAGE_ACCESS_KEY" secret:"true" help:"Key of the storage account that a wasbs: or abfss: address names."`
	AzureSAS        string `env:"AZURE_STORAGE_SAS_TOKEN" secret:"true" help:"Shared access signature for that account, when there is no key."`

	GCSEndpoint string `env:"STORAGE_EMULATOR_HOST" help:"host:port or address of an emulator of Google Cloud Storage, for tests."`

	// Set by the program, not by the environment.
	Transport http.RoundTripper `env:"-"` // for Azure, instead of the library's own
}

// Validate joins all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.S3Endpoint != "" {
		u, err := url.Parse(c.S3Endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			errs = append(errs, errors.New("MLFLOW_S3_ENDPOINT_URL: must be http(s)://host[:port]"))
		}
	}
	switch c.S3Addressing {
	case "", "auto", "path", "virtual":
	default:
		errs = append(errs, fmt.Errorf("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE: %q is none of auto, path and virtual", c.S3Addressing))
	}
	return errors.Join(errs...)
}
