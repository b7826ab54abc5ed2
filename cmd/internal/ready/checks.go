package ready

// Checks are all checks, by what they are about. A new one is a file of this package and a line here; docs/ready.md and docs/ready-policy.json
// are made of it by go test -update.
var Checks = []*Check{
	// What was done with the API.
	&trailAllRegions, &trailLive, &trailValidation, &trailS3Events, &trailLambdaEvents, &trailBucketPublic, &trailBucketLock,
	// What happened on the network, and what changed.
	&flowLogs, &resolverLogs, &dnsFirewall, &balancerLogs, &classicBalancerLogs, &webLogs, &firewallLogs, &clusterLogs, &databaseLogs, &guardDuty, &guardDutyFeatures, &configRecorder, &sessionLogging, &logRetention,
	// What is kept in buckets, evidence among it.
	&evidenceBucket, &evidenceAccount, &bucketPublic, &bucketBlock, &bucketVersioning, &bucketLogging,
	// Who may do what.
	&rootKeys, &rootMFA, &rootUnused, &userMFA, &userKeyAge, &userAdmin, &userPasswordAge, &userIdle,
	// Who will work on an incident, and what nobody can undo.
	&responderAssume, &responderContain, &responderGather, &responderFind, &responderConnect, &responderKey, &responderWorkstation, &responderShield, &quarantinePolicy,
	// What can be taken from instances, and how they are reached and contained.
	&imdsV2, &snapshotPublic, &snapshotKey, &snapshotKeyPolicy, &ebsEncryption, &imagePublic, &ssmManaged, &connectEndpoint, &sshPath, &nitro, &natEgress, &standbyRoom, &sharedRole,
}
