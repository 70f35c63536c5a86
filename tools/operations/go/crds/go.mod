module rookery.test/crds

go 1.24

require (
	github.com/cert-manager/cert-manager v1.16.2
	github.com/prometheus-operator/prometheus-operator v0.76.0
	sigs.k8s.io/gateway-api v1.2.1
)
