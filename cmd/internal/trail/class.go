package trail

import (
	"regexp"
	"strings"
)

// A Class is what a call does, as far as an attacker would want it.
type Class string

// The classes, the worst first. They are of the names of calls: whether a call was an attacker's, nobody but the account's people can say.
const (
	Hides    Class = "hides"    // turns off what records, or warns
	Persists Class = "persists" // makes a way in, or widens one
	Destroys Class = "destroys"
	Takes    Class = "takes" // secrets, or data to elsewhere
	Moves    Class = "moves" // to another identity, or onto a machine
	Spends   Class = "spends"
	Changes  Class = "changes" // anything else
	Reads    Class = "reads"
)

// Classes are all, the worst first.
var Classes = []Class{Hides, Persists, Destroys, Takes, Moves, Spends, Changes, Reads}

// Meaning says what a class is, for people.
func (c Class) Meaning() string {
	return map[Class]string{
		Hides: "turned off what records or warns", Persists: "made or widened ways in", Destroys: "destroyed", Takes: "took secrets, or gave data away",
		Moves: "moved to other identities or machines", Spends: "spent", Changes: "changed", Reads: "read",
	}[c]
}

// classes are the calls of each class by name. Those that are not here are told apart by their beginning.
var classes = byName(map[Class]string{
	Hides: `StopLogging DeleteTrail UpdateTrail PutEventSelectors PutInsightSelectors DeleteEventDataStore StopEventDataStoreIngestion DeleteFlowLogs
		DeleteDetector UpdateDetector CreateFilter UpdateFilter CreateIPSet UpdateIPSet DeletePublishingDestination StopMonitoringMembers DisassociateFromMasterAccount DisassociateFromAdministratorAccount
		StopConfigurationRecorder DeleteConfigurationRecorder DeleteDeliveryChannel DeleteConfigRule DisableSecurityHub DeleteAlarms DisableAlarmActions DisableRule DeleteRule
		DeleteLogGroup DeleteLogStream PutRetentionPolicy DeleteSubscriptionFilter DeleteResourcePolicy PutBucketLogging DeleteAnalyzer DisableMacie LeaveOrganization
		DeleteQueryLoggingConfig DisassociateResolverQueryLogConfig DeleteResolverQueryLogConfig`,
	Persists: `CreateAccessKey UpdateAccessKey CreateUser CreateLoginProfile UpdateLoginProfile ChangePassword CreateRole UpdateAssumeRolePolicy AttachUserPolicy AttachRolePolicy AttachGroupPolicy
		PutUserPolicy PutRolePolicy PutGroupPolicy CreatePolicyVersion SetDefaultPolicyVersion DeleteUserPolicy DetachUserPolicy DetachRolePolicy DeleteRolePolicy
		PutUserPermissionsBoundary PutRolePermissionsBoundary DeleteUserPermissionsBoundary DeleteRolePermissionsBoundary AddUserToGroup
		CreateServiceSpecificCredential ResetServiceSpecificCredential UpdateServiceSpecificCredential UploadSSHPublicKey UploadSigningCertificate
		CreateSAMLProvider UpdateSAMLProvider CreateOpenIDConnectProvider UpdateOpenIDConnectProviderThumbprint AddClientIDToOpenIDConnectProvider
		DeactivateMFADevice EnableMFADevice CreateVirtualMFADevice DeleteVirtualMFADevice GetFederationToken CreateInstanceProfile AddRoleToInstanceProfile
		AssociateIamInstanceProfile ReplaceIamInstanceProfileAssociation CreateFunction UpdateFunctionCode UpdateFunctionConfiguration AddPermission CreateFunctionUrlConfig
		UpdateFunctionUrlConfig CreateEventSourceMapping PublishLayerVersion ImportKeyPair CreateKeyPair AuthorizeSecurityGroupIngress CreateTrustAnchor CreateProfile
		CreateAccountAssignment CreatePermissionSet AttachManagedPolicyToPermissionSet PutInlinePolicyToPermissionSet ModifyInstanceAttribute PutKeyPolicy CreateGrant`,
	Destroys: `ScheduleKeyDeletion DisableKey TerminateInstances StopInstances DeleteBucket DeleteObject DeleteObjects DeleteSnapshot DeleteVolume DeregisterImage DeleteDBInstance DeleteDBCluster
		DeleteDBSnapshot DeleteTable DeleteBackupVault DeleteRecoveryPoint PutBucketLifecycle PutBucketLifecycleConfiguration PutBucketVersioning DeleteStack DeleteFileSystem DeleteSecret`,
	Takes: `GetSecretValue BatchGetSecretValue GetParameter GetParameters GetParametersByPath GetPasswordData ModifySnapshotAttribute ModifyImageAttribute ModifyDBSnapshotAttribute
		ModifyDBClusterSnapshotAttribute PutBucketPolicy PutBucketAcl PutObjectAcl DeleteBucketPublicAccessBlock PutBucketPublicAccessBlock PutAccountPublicAccessBlock PutBucketReplication
		CreateInstanceExportTask StartExportTask CreateStoreImageTask GetSnapshotBlock CopySnapshot CopyDBSnapshot GetAuthorizationToken GetConsoleScreenshot CreateSubnetCidrReservation
		CreateTrafficMirrorSession GetCredentialReport GenerateCredentialReport`,
	Moves: `AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity AssumeRoot GetSessionToken GetSigninToken ConsoleLogin SwitchRole SendCommand StartSession ResumeSession ExecuteCommand
		SendSSHPublicKey SendSerialConsoleSSHPublicKey OpenTunnel GetClusterCredentials GetCredentialsForIdentity GetRoleCredentials Invoke StartAutomationExecution CreateAssociation`,
	Spends: `RunInstances RequestSpotInstances RequestSpotFleet CreateFleet RequestServiceQuotaIncrease PurchaseReservedInstancesOffering PurchaseSavingsPlan CreateNotebookInstance InvokeModel
		InvokeModelWithResponseStream PutFoundationModelEntitlement CreateFoundationModelAgreement CreateCluster RunTask SendEmail SendRawEmail CreateEmailIdentity UpdateAccountSendingEnabled`,
})

func byName(lists map[Class]string) map[string]Class {
	m := map[string]Class{}
	for c, names := range lists {
		for _, n := range strings.Fields(names) {
			m[n] = c
		}
	}
	return m
}

// dated ends the names of Lambda's and CloudFront's calls in events: "UpdateFunctionCode20150331v2".
var dated = regexp.MustCompile(`20[0-9]{6}(v[0-9]+)?$|_?20[0-9]{2}_[0-9]{2}_[0-9]{2}$`)

// Call is the name of the call without the version that some services put behind it.
func (e *Event) Call() string { return dated.ReplaceAllString(e.Name, "") }

func classOf(e *Event) Class {
	c, known := classes[e.Call()]
	switch {
	case known:
		return c
	case e.ReadOnly:
		return Reads
	case strings.HasPrefix(e.Name, "Delete"), strings.HasPrefix(e.Name, "Terminate"):
		return Destroys
	}
	return Changes
}

// reads guesses by its name whether a call only reads, for events that do not say.
func reads(name string) bool {
	for _, p := range []string{"Get", "List", "Describe", "Head", "Lookup", "Search", "BatchGet", "Select", "Query", "Scan", "Simulate"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
