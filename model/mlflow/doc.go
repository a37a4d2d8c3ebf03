// Package mlflow reaches the MLflow model registry over REST and brings model
// versions to the local disk: references, authentication, artifacts, a verified
// cache, the model folder (MLmodel) and the registering of new versions. It
// depends on no Python and needs no credentials of the artifact store when the
// tracking server hands artifacts out itself.
package mlflow
