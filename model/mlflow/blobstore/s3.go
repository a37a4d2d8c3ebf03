package blobstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/millrace/millrace/model/mlflow"
)

// credentialsTimeout bounds the search for credentials: off AWS, the address of
// an instance's role does not answer.
const credentialsTimeout = 10 * time.Second

// openS3 opens a bucket of AWS, or of the endpoint.
func (c Config) openS3(ctx context.Context, f *folder) error {
	cfg, err := c.awsConfig(ctx)
	if err != nil {
		return fmt.Errorf("%w: AWS configuration: %w", mlflow.ErrNoAccess, err)
	}
	search, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(search); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w: no AWS credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role): %w", mlflow.ErrNoAccess, err)
	}
	own := c.S3Endpoint != "" || cfg.BaseEndpoint != nil
	options := func(o *s3.Options) {
		if c.S3Endpoint != "" {
			o.BaseEndpoint = aws.String(c.S3Endpoint)
		}
		o.UsePathStyle = c.S3Addressing == "path" || (own && c.S3Addressing != "virtual")
		o.DisableLogOutputChecksumValidationSkipped = true
		if own { // not every store knows the newer checksums; the ETag is checked
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	}
	client := s3.NewFromConfig(cfg, options)
	if !own {
		if region := bucketRegion(ctx, client, f.at.Bucket); region != "" && region != cfg.Region {
			cfg.Region = region
			client = s3.NewFromConfig(cfg, options)
		}
	}
	opts := &s3blob.Options{RequestChecksumCalculation: cfg.RequestChecksumCalculation}
	if own {
		opts.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	f.more, f.noAccess = moreOfS3, s3NoAccess
	f.bucket, err = s3blob.OpenBucket(ctx, client, f.at.Bucket, opts)
	return err
}

func (c Config) awsConfig(ctx context.Context) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.ResponseHeaderTimeout = 2 * time.Minute
		if c.S3IgnoreTLS {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // the user's explicit wish
		}
	})
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(client), config.WithRetryMaxAttempts(attempts),
		config.WithLogger(logging.Nop{}))
	if err == nil && cfg.Region == "" {
		cfg.Region = "us-east-1" // as boto3 has it
	}
	return cfg, err
}

// bucketRegion asks where a bucket of AWS is: its other regions answer with a
// redirect, which boto3 follows and this library does not. "" when that cannot
// be known.
func bucketRegion(ctx context.Context, client *s3.Client, bucket string) string {
	out, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String(bucket)})
	if err == nil {
		return aws.ToString(out.BucketRegion)
	}
	var e *awshttp.ResponseError
	if errors.As(err, &e) && e.Response != nil {
		return e.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// moreOfS3 takes the ETag, which is the MD5 of an object that was uploaded as
// one and not encrypted with a key of KMS or of the customer.
func moreOfS3(r *blob.Reader, b *mlflow.Body) {
	var out s3.GetObjectOutput
	if !r.As(&out) {
		return
	}
	b.ETag = aws.ToString(out.ETag)
	sse := out.ServerSideEncryption
	if (sse == "" || sse == types.ServerSideEncryptionAes256) && out.SSECustomerAlgorithm == nil {
		b.MD5 = mlflow.ETagMD5(b.ETag)
	}
}

// s3NoAccess holds the errors of access that gocloud does not sort: those of
// credentials, and a bucket that this endpoint does not have.
func s3NoAccess(err error) bool {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		switch e.ErrorCode() {
		case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccessDenied", "Forbidden",
			"AllAccessDisabled", "AccountProblem", "RequestTimeTooSkewed", "NoSuchBucket", "PermanentRedirect":
			return true
		}
	}
	var r *awshttp.ResponseError
	return errors.As(err, &r) && (r.HTTPStatusCode() == http.StatusUnauthorized || r.HTTPStatusCode() == http.StatusForbidden)
}
