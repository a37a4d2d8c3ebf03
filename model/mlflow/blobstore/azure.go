package blobstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azblobblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/mlflow/blobstore/address"
)

// openAzure opens a container with the credentials that MLflow would take: the
// connection string, which names the endpoint as well, the account's key, the
// shared access signature, and Azure's default chain.
func (c Config) openAzure(ctx context.Context, f *folder) error {
	opts := &container.ClientOptions{}
	opts.Telemetry = policy.TelemetryOptions{ApplicationID: "millrace"}
	if c.Transport != nil {
		opts.Transport = &http.Client{Transport: c.Transport}
	}
	client, err := c.azureClient(f.at, opts)
	if err != nil {
		return fmt.Errorf("%w: Azure credentials: %w", mlflow.ErrNoAccess, err)
	}
	f.more, f.noAccess = moreOfAzure, azureNoAccess
	f.bucket, err = azureblob.OpenBucket(ctx, client, nil)
	return err
}

func (c Config) azureClient(a address.Address, opts *container.ClientOptions) (*container.Client, error) {
	at := "https://" + a.Host + "/" + a.Bucket
	switch {
	case c.AzureConnection != "":
		client, err := container.NewClientFromConnectionString(c.AzureConnection, a.Bucket, opts)
		if err != nil {
			return nil, errors.New("AZURE_STORAGE_CONNECTION_STRING is malformed") // its text holds the key
		}
		return client, nil
	case c.AzureKey != "":
		key, err := azblob.NewSharedKeyCredential(a.Account, c.AzureKey)
		if err != nil {
			return nil, errors.New("AZURE_STORAGE_ACCESS_KEY is malformed") // as above
		}
		return container.NewClientWithSharedKeyCredential(at, key, opts)
	case c.AzureSAS != "":
		return container.NewClientWithNoCredential(at+"?"+c.AzureSAS, opts)
	}
	chain, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	return container.NewClient(at, chain, opts)
}

// moreOfAzure takes the ETag, and the MD5 of the whole where it was uploaded
// with one.
func moreOfAzure(r *blob.Reader, b *mlflow.Body) {
	var out azblobblob.DownloadStreamResponse
	if !r.As(&out) {
		return
	}
	if out.ETag != nil {
		b.ETag = string(*out.ETag)
	}
	if len(out.BlobContentMD5) == 16 {
		b.MD5 = hex.EncodeToString(out.BlobContentMD5)
	}
}

func azureNoAccess(err error) bool {
	// What azidentity's errors have in common: no credential, or a refused one.
	var credentials interface {
		error
		NonRetriable()
	}
	var e *azcore.ResponseError
	switch {
	case errors.As(err, &credentials):
		return true
	case errors.As(err, &e):
		return e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden ||
			e.ErrorCode == string(bloberror.ContainerNotFound)
	}
	return false
}
