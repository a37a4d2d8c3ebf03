package mlflow

import (
	"errors"
	"fmt"
	"log/slog"
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

	Artifacts Artifacts `env:"MILLRACE_MODEL_ARTIFACTS" envDefault:"auto" help:"How a model's files are reached: direct (from the object store, with this process's own credentials), server (through the tracking server, which needs none) or auto (direct where there are credentials that suffice, else server)."`
	Parallel  int       `env:"MILLRACE_MODEL_DOWNLOADS" envDefault:"4" help:"Files of a model that are downloaded or uploaded at a time."`
	MaxBytes  int64     `env:"MILLRACE_MODEL_MAX_BYTES" envDefault:"0" help:"Most bytes of one model; a larger one is refused before it is downloaded. 0: the cache's quota alone bounds it."`

	// Set by the program, not by the environment.
	CredentialsFile string            `env:"-"` // usually ~/.mlflow/credentials; need not exist
	Transport       http.RoundTripper `env:"-"` // instead of one built from the TLS settings
	RetryBase       time.Duration     `env:"-"` // first wait between attempts, 500 ms when 0
	RetryMax        int               `env:"-"` // attempts after the first, 7 when 0, none when negative
	Stall           time.Duration     `env:"-"` // without a byte before a transfer is begun anew, 1 min when 0
	ProgressEvery   time.Duration     `env:"-"` // 5 s when 0
	Log             *slog.Logger      `env:"-"` // for transfers that last, nil for none
	Open            Opener            `env:"-"` // of object stores, nil for none
}

func (c *Config) setDefaults() {
	if c.RetryBase == 0 {
		c.RetryBase = 500 * time.Millisecond
	}
	if c.RetryMax == 0 {
		c.RetryMax = 7
	}
	if c.Stall == 0 {
		c.Stall = time.Minute
	}
	if c.ProgressEvery == 0 {
		c.ProgressEvery = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Artifacts == "" {
		c.Artifacts = ArtifactsAuto
	}
	if c.Parallel == 0 {
		c.Parallel = 4
	}
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
	if a := c.Artifacts; a != "" && a != ArtifactsAuto && a != ArtifactsDirect && a != ArtifactsServer {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_ARTIFACTS: %q is none of auto, direct and server", a))
	}
	if c.Parallel < 0 || c.Parallel > 64 {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_DOWNLOADS: %d is not between 1 and 64", c.Parallel))
	}
	if c.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_MAX_BYTES: %d is not 0 or above", c.MaxBytes))
	}
	return errors.Join(errs...)
}
