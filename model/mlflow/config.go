package mlflow

import (
	"errors"
	"net/http"
	"net/url"
	"time"
)

// Config of a [Client]. The names are MLflow's own, without this project's
// prefix.
type Config struct {
	TrackingURI    string `env:"MLFLOW_TRACKING_URI" help:"Address of the tracking server, http or https, a static prefix included; without it, models are folders."`
	Username       string `env:"MLFLOW_TRACKING_USERNAME" help:"For Basic authentication, together with the password."`
	Password       string `env:"MLFLOW_TRACKING_PASSWORD" secret:"true" help:"For Basic authentication."`
	Token          string `env:"MLFLOW_TRACKING_TOKEN" secret:"true" help:"For Bearer authentication, when there is no user name and password."`
	InsecureTLS    bool   `env:"MLFLOW_TRACKING_INSECURE_TLS" envDefault:"false" help:"Do not verify the server's certificate."`
	ServerCertPath string `env:"MLFLOW_TRACKING_SERVER_CERT_PATH" help:"PEM file of the authorities to trust."`
	ClientCertPath string `env:"MLFLOW_TRACKING_CLIENT_CERT_PATH" help:"PEM file with a client certificate and its key."`
	Workspace      string `env:"MLFLOW_WORKSPACE" help:"Sent as X-MLFLOW-WORKSPACE."`
	AllowLocal     bool   `env:"MILLRACE_MODEL_ALLOW_LOCAL_ARTIFACTS" envDefault:"false" help:"Read artifacts that lie at file: paths of a shared file system."`

	// Set by the program, not by the environment.
	CredentialsFile string            `env:"-"` // usually ~/.mlflow/credentials; need not exist
	Transport       http.RoundTripper `env:"-"` // instead of one built from the TLS settings
	RetryBase       time.Duration     `env:"-"` // first wait between attempts, 500 ms when 0
	RetryMax        int               `env:"-"` // attempts after the first, 7 when 0, none when negative
}

// Validate joins all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.TrackingURI != "" {
		u, err := url.Parse(c.TrackingURI)
		// The text itself may hold a password, so it is not repeated.
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			errs = append(errs, errors.New("MLFLOW_TRACKING_URI: must be http(s)://host[:port][/prefix]"))
		}
	}
	if c.InsecureTLS && c.ServerCertPath != "" {
		errs = append(errs, errors.New("MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH exclude each other"))
	}
	if (c.Username == "") != (c.Password == "") && c.CredentialsFile == "" {
		errs = append(errs, errors.New("MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD: must be set together"))
	}
	return errors.Join(errs...)
}
