// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Blockhash } from "@openzeppelin/contracts/utils/Blockhash.sol";
import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { IBondVault } from "./interfaces/IBondVault.sol";
import { IOperatorCommittee } from "./interfaces/IOperatorCommittee.sol";
import { Clock } from "./libraries/Clock.sol";
import { Roster } from "./libraries/Roster.sol";
import { Tags } from "./libraries/Tags.sol";
import { DisputeId, Timestamp } from "./types/Types.sol";

/// @title OperatorCommittee
/// @dev Documented in IOperatorCommittee. The panel is a function of the seed alone: Roster says why. What
/// remains is the proposer of the seed block, who can forgo the block to discard one seed.
contract OperatorCommittee is IOperatorCommittee {
    using SafeCast for uint256;
    using Roster for Roster.Members;

    struct Case {
        Roster.Announcement announcement;
        uint64 seedBlock;
        uint8 commits;
        uint8 accepts;
        uint8 rejects;
        bool ended;
        Timestamp commitEnd;
        Timestamp revealEnd;
        address[] panel;
    }

    struct Ballot {
        bytes32 commitment;
        bool seated;
        Vote vote;
    }

    uint256 private constant MAX_SIZE = 31;
    uint256 private constant MAX_SEED_DELAY = 256;
    uint256 private constant MAX_STATISTICS = 1024;

    /// @inheritdoc IOperatorCommittee
    IBondVault public immutable vault;

    /// @inheritdoc IOperatorCommittee
    address public immutable disputeGame;

    /// @inheritdoc IOperatorCommittee
    uint256 public pendingDraws;

    Parameters private _parameters;
    Roster.Members private _members;
    mapping(DisputeId caseId => Case) private _cases;
    mapping(DisputeId caseId => mapping(address member => Ballot)) private _ballots;

    modifier onlyDisputeGame() {
        require(msg.sender == disputeGame, NotDisputeGame(msg.sender));
        _;
    }

    modifier onlyMember() {
        require(_members.seats[msg.sender].position != 0, NotMember(msg.sender));
        _;
    }

    /// @param disputeGame_ May be an address that is yet to be deployed to.
    constructor(IBondVault vault_, address disputeGame_, Parameters memory p) {
        require(address(vault_).code.length != 0, InvalidConfiguration("vault has no code"));
        require(disputeGame_ != address(0), InvalidConfiguration("no dispute game"));
        // INVARIANT: a full panel that reveals cannot tie, and its loops are bounded.
        require(p.size % 2 == 1 && p.size <= MAX_SIZE, InvalidConfiguration("size must be odd and at most 31"));
        // INVARIANT: two disjoint groups of a panel never both make a quorum.
        require(p.quorum > p.size / 2, InvalidConfiguration("quorum must exceed half of size"));
        require(p.quorum <= p.size, InvalidConfiguration("quorum exceeds size"));
        // INVARIANT: a tie has no minority.
        require(p.minorityMargin != 0, InvalidConfiguration("minorityMargin is zero"));
        require(p.minorityMargin <= p.size, InvalidConfiguration("minorityMargin exceeds size"));
        // INVARIANT: a full stake covers what one case can cost, and one fee never outweighs it.
        require(p.stake >= p.noShowPenalty, InvalidConfiguration("noShowPenalty exceeds stake"));
        require(p.memberFee < p.stake, InvalidConfiguration("memberFee must be below stake"));
        // INVARIANT: who finds itself in the minority gains nothing by not revealing.
        require(p.minorityPenalty <= p.noShowPenalty, InvalidConfiguration("minorityPenalty exceeds noShowPenalty"));
        require(p.noShowPenalty != 0, InvalidConfiguration("noShowPenalty is zero"));
        // INVARIANT: the seed lies in the future of its announcement.
        require(p.seedDelay != 0, InvalidConfiguration("seedDelay is zero"));
        require(p.seedDelay <= MAX_SEED_DELAY, InvalidConfiguration("seedDelay exceeds 256"));
        require(Clock.isSane(p.commitPeriod), InvalidConfiguration("commitPeriod is zero or above a year"));
        require(Clock.isSane(p.revealPeriod), InvalidConfiguration("revealPeriod is zero or above a year"));
        require(Clock.isSane(p.leaveDelay), InvalidConfiguration("leaveDelay is zero or above a year"));
        vault = vault_;
        disputeGame = disputeGame_;
        _parameters = p;
    }

    // ------------------------------------------------------------------------------------------- members

    /// @inheritdoc IOperatorCommittee
    function join() external payable {
        // INVARIANT: one seat per member.
        require(_members.seats[msg.sender].position == 0, AlreadyMember(msg.sender));
        // INVARIANT: a new seat is backed by exactly the stake.
        require(msg.value == _parameters.stake, WrongStake(msg.value, _parameters.stake));
        _members.add(msg.sender);
        emit MemberJoined(msg.sender);
        vault.lock{ value: msg.value }(_lockOf(msg.sender));
    }

    /// @inheritdoc IOperatorCommittee
    function topUp() external payable onlyMember {
        Roster.Seat storage seat = _members.seats[msg.sender];
        // INVARIANT: who asked to leave is drawn no more.
        require(Timestamp.unwrap(seat.leavesAt) == 0, AlreadyLeaving(msg.sender));
        // INVARIANT: what excludes a seat is not forgotten while a draw may depend on it.
        require(pendingDraws == 0, StakesFrozen(pendingDraws, seat.duties));
        uint256 stake = _parameters.stake;
        uint256 missing = stake - stakeOf(msg.sender);
        require(msg.value == missing, WrongStake(msg.value, missing));
        _members.restore(msg.sender);
        emit StakeToppedUp(msg.sender, stake);
        vault.lock{ value: msg.value }(_lockOf(msg.sender));
    }

    /// @inheritdoc IOperatorCommittee
    function requestLeave() external onlyMember {
        Roster.Seat storage seat = _members.seats[msg.sender];
        require(Timestamp.unwrap(seat.leavesAt) == 0, AlreadyLeaving(msg.sender));
        seat.leavesAt = Clock.deadline(Clock.present(), _parameters.leaveDelay);
        _members.exclude(msg.sender);
        emit MemberLeaving(msg.sender, seat.leavesAt);
    }

    /// @inheritdoc IOperatorCommittee
    function leave() external onlyMember {
        Roster.Seat memory seat = _members.seats[msg.sender];
        uint64 due = Timestamp.unwrap(seat.leavesAt);
        require(due != 0 && block.timestamp >= due, LeaveNotDue(msg.sender, seat.leavesAt));
        // INVARIANT: a stake that answers for a vote, or a place a draw depends on, stays.
        require(pendingDraws == 0 && seat.duties == 0, StakesFrozen(pendingDraws, seat.duties));
        _members.remove(msg.sender);
        uint256 held = stakeOf(msg.sender);
        emit MemberLeft(msg.sender, held);
        if (held != 0) vault.credit(_lockOf(msg.sender), msg.sender, held);
    }

    // --------------------------------------------------------------------------------------------- cases

    /// @inheritdoc IOperatorCommittee
    function convene(DisputeId caseId, address prover, address challenger, Timestamp since) external onlyDisputeGame {
        require(_cases[caseId].announcement.number == 0, DuplicateCase(caseId));
        ++pendingDraws;
        _announce(caseId, prover, challenger, since);
    }

    /// @inheritdoc IOperatorCommittee
    function draw(DisputeId caseId) external {
        _requireStage(caseId, Stage.Announced);
        Case storage c = _cases[caseId];
        // INVARIANT: the seed is fixed for good before the panel follows from it.
        require(block.number > c.seedBlock, SeedNotMined(caseId, c.seedBlock));
        // SAFETY: a look-up starved of gas also returns zero, but leaves too little gas to announce again.
        bytes32 blockHash = Blockhash.blockHash(c.seedBlock);
        if (blockHash == 0) {
            _announce(caseId, c.announcement.prover, c.announcement.challenger, c.announcement.since);
            return;
        }
        --pendingDraws;
        bytes32 seed = keccak256(abi.encode(Tags.DRAW, blockHash, caseId));
        address[] memory panel = _members.draw(c.announcement, _parameters.size, seed);
        for (uint256 i = 0; i < panel.length; ++i) {
            ++_members.seats[panel[i]].duties;
            _ballots[caseId][panel[i]].seated = true;
        }
        c.panel = panel;
        c.commitEnd = Clock.deadline(Clock.present(), _parameters.commitPeriod);
        c.revealEnd = Clock.deadline(c.commitEnd, _parameters.revealPeriod);
        emit PanelDrawn(caseId, panel, c.commitEnd, c.revealEnd);
    }

    /// @inheritdoc IOperatorCommittee
    function commit(DisputeId caseId, bytes32 commitment) external {
        _requireStage(caseId, Stage.Commit);
        Ballot storage ballot = _seatedBallot(caseId);
        // INVARIANT: a commitment is never replaced.
        require(ballot.commitment == 0, AlreadyCommitted(caseId, msg.sender));
        require(commitment != 0, NothingCommitted(caseId, msg.sender));
        ballot.commitment = commitment;
        ++_cases[caseId].commits;
        emit VoteCommitted(caseId, msg.sender);
    }

    /// @inheritdoc IOperatorCommittee
    function reveal(DisputeId caseId, Vote vote, bytes calldata statistics, bytes32 salt) external {
        _requireStage(caseId, Stage.Reveal);
        Ballot storage ballot = _seatedBallot(caseId);
        require(ballot.commitment != 0, NothingCommitted(caseId, msg.sender));
        require(ballot.vote == Vote.None, AlreadyRevealed(caseId, msg.sender));
        require(vote != Vote.None, InvalidVote());
        require(statistics.length <= MAX_STATISTICS, StatisticsTooLong(statistics.length, MAX_STATISTICS));
        // INVARIANT: the hash names the voter, so another member's commitment opens for nobody else.
        bytes32 given = voteHash(caseId, msg.sender, vote, statistics, salt);
        require(given == ballot.commitment, CommitmentMismatch(given, ballot.commitment));
        ballot.vote = vote;
        if (vote == Vote.Accept) ++_cases[caseId].accepts;
        else ++_cases[caseId].rejects;
        emit VoteRevealed(caseId, msg.sender, vote, statistics);
    }

    /// @inheritdoc IOperatorCommittee
    function tally(DisputeId caseId) external onlyDisputeGame returns (Verdict verdict, address[] memory rewarded) {
        _requireStage(caseId, Stage.Tallying);
        Case storage c = _cases[caseId];
        (uint256 accepts, uint256 rejects) = (c.accepts, c.rejects);
        address[] memory panel = c.panel;
        _end(c, panel);
        if (accepts + rejects < _parameters.quorum) {
            _settleWithoutQuorum(caseId, panel, accepts + rejects);
        } else {
            // A tie leaves the claim standing: rejecting takes a strict majority.
            verdict = rejects > accepts ? Verdict.Reject : Verdict.Accept;
            rewarded = _settleWithQuorum(caseId, panel, accepts, rejects);
        }
        emit CaseTallied(caseId, verdict, accepts, rejects);
    }

    // --------------------------------------------------------------------------------------------- views

    /// @inheritdoc IOperatorCommittee
    function voteHash(DisputeId caseId, address member, Vote vote, bytes calldata statistics, bytes32 salt)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(Tags.VOTE, block.chainid, address(this), caseId, member, vote, keccak256(statistics), salt)
        );
    }

    /// @inheritdoc IOperatorCommittee
    /// @dev A stage ends with its deadline (which still belongs to it) or when nobody is left to act in it:
    /// the reveal begins early once the whole panel has committed, the tally once every commitment is open.
    function stageOf(DisputeId caseId) public view returns (Stage) {
        Case storage c = _cases[caseId];
        if (c.announcement.number == 0) return Stage.None;
        if (c.ended) return Stage.Ended;
        if (Timestamp.unwrap(c.commitEnd) == 0) return Stage.Announced;
        if (c.commits < c.panel.length && !Clock.hasPassed(c.commitEnd)) return Stage.Commit;
        if (c.accepts + c.rejects < c.commits && !Clock.hasPassed(c.revealEnd)) return Stage.Reveal;
        return Stage.Tallying;
    }

    /// @inheritdoc IOperatorCommittee
    function panelOf(DisputeId caseId) external view returns (address[] memory) {
        return _cases[caseId].panel;
    }

    /// @inheritdoc IOperatorCommittee
    function deadlinesOf(DisputeId caseId) external view returns (Timestamp commitEnd, Timestamp revealEnd) {
        return (_cases[caseId].commitEnd, _cases[caseId].revealEnd);
    }

    /// @inheritdoc IOperatorCommittee
    function voteOf(DisputeId caseId, address member) external view returns (bytes32 commitment, Vote vote) {
        Ballot storage ballot = _ballots[caseId][member];
        return (ballot.commitment, ballot.vote);
    }

    /// @inheritdoc IOperatorCommittee
    function seedBlockOf(DisputeId caseId) external view returns (uint256) {
        return _cases[caseId].seedBlock;
    }

    /// @inheritdoc IOperatorCommittee
    function stakeOf(address member) public view returns (uint256) {
        return vault.lockedOf(address(this), _lockOf(member));
    }

    /// @inheritdoc IOperatorCommittee
    function memberCount() external view returns (uint256) {
        return _members.list.length;
    }

    /// @inheritdoc IOperatorCommittee
    function memberAt(uint256 index) external view returns (address) {
        return _members.list[index];
    }

    /// @inheritdoc IOperatorCommittee
    function dutiesOf(address member) external view returns (uint256) {
        return _members.seats[member].duties;
    }

    /// @inheritdoc IOperatorCommittee
    function leavesAt(address member) external view returns (Timestamp) {
        return _members.seats[member].leavesAt;
    }

    /// @inheritdoc IOperatorCommittee
    function isEligible(address member, Timestamp since) external view returns (bool) {
        return _members.isEligible(member, _members.announcements + 1, since);
    }

    /// @inheritdoc IOperatorCommittee
    function parameters() external view returns (Parameters memory) {
        return _parameters;
    }

    // ------------------------------------------------------------------------------------------- private

    function _announce(DisputeId caseId, address prover, address challenger, Timestamp since) private {
        Case storage c = _cases[caseId];
        c.announcement = _members.announce(prover, challenger, since);
        c.seedBlock = (block.number + _parameters.seedDelay).toUint64();
        emit CaseAnnounced(caseId, c.seedBlock);
    }

    /// @dev Ends the case and releases its panel.
    function _end(Case storage c, address[] memory panel) private {
        c.ended = true;
        for (uint256 i = 0; i < panel.length; ++i) {
            --_members.seats[panel[i]].duties;
        }
    }

    /// @dev Burns the penalties of those who did not reveal and, beyond the margin, of the minority.
    /// @return rewarded Who voted with the verdict.
    function _settleWithQuorum(DisputeId caseId, address[] memory panel, uint256 accepts, uint256 rejects)
        private
        returns (address[] memory rewarded)
    {
        Parameters memory p = _parameters;
        Vote winning = rejects > accepts ? Vote.Reject : Vote.Accept;
        uint256 margin = rejects > accepts ? rejects - accepts : accepts - rejects;
        uint256 minorityPenalty = margin < p.minorityMargin ? 0 : p.minorityPenalty;
        rewarded = new address[](panel.length);
        uint256 winners = 0;
        for (uint256 i = 0; i < panel.length; ++i) {
            Vote vote = _ballots[caseId][panel[i]].vote;
            if (vote == winning) rewarded[winners++] = panel[i];
            else _burn(panel[i], _penalise(caseId, panel[i], vote == Vote.None ? p.noShowPenalty : minorityPenalty));
        }
        Roster.truncate(rewarded, winners);
    }

    /// @dev Nobody's bond pays the members, so the absent do, up to one fee each; the rest is burned.
    function _settleWithoutQuorum(DisputeId caseId, address[] memory panel, uint256 revealers) private {
        Parameters memory p = _parameters;
        uint256 absent = panel.length - revealers;
        for (uint256 i = 0; i < panel.length; ++i) {
            if (_ballots[caseId][panel[i]].vote != Vote.None) continue;
            uint256 penalty = _penalise(caseId, panel[i], p.noShowPenalty);
            uint256 share = revealers == 0 ? 0 : Math.min(penalty / revealers, p.memberFee / absent);
            for (uint256 j = 0; j < panel.length && share != 0; ++j) {
                if (_ballots[caseId][panel[j]].vote == Vote.None) continue;
                vault.credit(_lockOf(panel[i]), panel[j], share);
            }
            _burn(panel[i], penalty - share * revealers);
        }
    }

    /// @return amount What the stake still holds of the penalty; the caller disposes of it.
    function _penalise(DisputeId caseId, address member, uint256 penalty) private returns (uint256 amount) {
        amount = Math.min(penalty, stakeOf(member));
        if (amount == 0) return 0;
        _members.exclude(member);
        emit MemberPenalised(caseId, member, amount);
    }

    function _burn(address member, uint256 amount) private {
        if (amount != 0) vault.burn(_lockOf(member), amount);
    }

    function _seatedBallot(DisputeId caseId) private view returns (Ballot storage ballot) {
        ballot = _ballots[caseId][msg.sender];
        require(ballot.seated, NotOnPanel(caseId, msg.sender));
    }

    function _requireStage(DisputeId caseId, Stage required) private view {
        Stage stage = stageOf(caseId);
        require(stage == required, WrongStage(caseId, stage, required));
    }

    function _lockOf(address member) private pure returns (bytes32) {
        return bytes32(uint256(uint160(member)));
    }
}
