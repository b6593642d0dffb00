// A solid and the units on their plate, drawn by the three.js that NiceGUI brings. Turned by pointer, by keys and by buttons; drawn only when
// something changes. Without WebGL it hides itself and says so: the drawing and the figures beside it say the same.
import {OrbitControls, STLLoader, THREE} from "nicegui-scene";

const STEP = Math.PI / 12;

export default {
  template: `<div class="dw-solid">
    <div ref="stage" class="dw-solid-stage" tabindex="0" role="img" :aria-label="label" @keydown="onKey"></div>
    <p v-if="failed" class="dw-quiet" role="status">{{ words.failed }}</p>
    <div v-else class="dw-solid-turn" role="group" :aria-label="words.turn">
      <button v-for="item in buttons" type="button" class="dw-plain" :aria-label="item.label" :title="item.label" @click="item.act()">
        <span aria-hidden="true">{{ item.sign }}</span></button>
      <button v-if="places.length" type="button" class="dw-plain" :aria-pressed="onPlate ? 'true' : 'false'" @click="toggle()">
        {{ onPlate ? words.unit : words.plate }}</button>
    </div></div>`,
  props: {pieces: Array, places: Array, plate: Object, label: String, words: Object},
  data: () => ({failed: false, onPlate: false}),
  computed: {
    buttons() {
      return [
        {sign: "⟲", label: this.words.left, act: () => this.turn(-STEP, 0)},
        {sign: "⟳", label: this.words.right, act: () => this.turn(STEP, 0)},
        {sign: "▲", label: this.words.up, act: () => this.turn(0, -STEP)},
        {sign: "▼", label: this.words.down, act: () => this.turn(0, STEP)},
        {sign: "+", label: this.words.nearer, act: () => this.zoom(0.8)},
        {sign: "−", label: this.words.farther, act: () => this.zoom(1.25)},
      ];
    },
  },
  async mounted() {
    const stage = this.$refs.stage;
    try {
      this.renderer = new THREE.WebGLRenderer({antialias: true, alpha: true});
    } catch {
      this.failed = true;
      stage.remove();
      return;
    }
    stage.appendChild(this.renderer.domElement);
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(35, 1, 0.1, 5000);
    this.camera.up.set(0, 0, 1);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.enableDamping = false;
    this.controls.enablePan = false;
    this.controls.addEventListener("change", () => this.draw());
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x8a8a80, 1.6));
    const sun = new THREE.DirectionalLight(0xffffff, 2.2);
    sun.position.set(2, -3, 4);
    this.scene.add(sun);
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(stage);
    this.geometries = await Promise.all(this.pieces.map(piece => this.load(piece)));
    if (this.geometries.some(geometry => geometry === null)) {
      this.failed = true;
      stage.remove();
      return;
    }
    this.show();
    stage.dataset.ready = "true";
  },
  beforeUnmount() {
    this.watch?.disconnect();
    this.controls?.dispose();
    this.renderer?.dispose();
  },
  methods: {
    async load(piece) {
      const answer = await fetch(piece.url, {credentials: "same-origin"});
      if (!answer.ok) return null;
      const geometry = new STLLoader().parse(await answer.arrayBuffer());
      geometry.computeVertexNormals();
      return geometry;
    },
    material(piece) {
      return new THREE.MeshStandardMaterial({color: piece.part === 2 ? 0xc98a3a : 0x2f9274, roughness: 0.62, metalness: 0});
    },
    show() {
      this.group?.removeFromParent();
      this.group = new THREE.Group();
      const units = this.onPlate ? this.places : [{x: 0, y: 0, unit: this.pieces[0].unit}];
      this.pieces.forEach((piece, index) => {
        const mine = units.filter(unit => unit.unit === piece.unit);
        const mesh = new THREE.InstancedMesh(this.geometries[index], this.material(piece), mine.length);
        mine.forEach((unit, at) => mesh.setMatrixAt(at, new THREE.Matrix4().makeTranslation(unit.x, unit.y, piece.base)));
        this.group.add(mesh);
      });
      if (this.onPlate) this.group.add(this.surface());
      this.scene.add(this.group);
      this.aim();
    },
    surface() {
      const {left, front, width, depth} = this.plate;
      const slab = new THREE.Mesh(new THREE.BoxGeometry(width, depth, 1), new THREE.MeshStandardMaterial({color: 0x9aa39f, roughness: 0.9}));
      slab.position.set(left + width / 2, front + depth / 2, -0.5);
      return slab;
    },
    aim() {
      const box = new THREE.Box3().setFromObject(this.group);
      const centre = box.getCenter(new THREE.Vector3());
      this.reach = box.getSize(new THREE.Vector3()).length() / 2 || 1;
      this.controls.target.copy(centre);
      const away = this.reach * (this.onPlate ? 2.5 : 3.4);
      this.camera.position.set(centre.x + away * 0.45, centre.y - away * 0.75, centre.z + away * 0.5);
      this.controls.minDistance = this.reach * 1.2;
      this.controls.maxDistance = this.reach * 12;
      this.controls.update();
      this.fit();
    },
    fit() {
      const stage = this.$refs.stage;
      if (!stage || !stage.clientWidth) return;
      this.renderer.setSize(stage.clientWidth, stage.clientHeight, false);
      this.camera.aspect = stage.clientWidth / stage.clientHeight;
      this.camera.updateProjectionMatrix();
      this.draw();
    },
    draw() { this.renderer.render(this.scene, this.camera); },
    turn(around, over) {
      const at = new THREE.Spherical();
      const offset = this.camera.position.clone().sub(this.controls.target);
      const upright = new THREE.Quaternion().setFromUnitVectors(this.camera.up, new THREE.Vector3(0, 1, 0));
      at.setFromVector3(offset.applyQuaternion(upright));
      at.theta += around;
      at.phi = Math.min(Math.PI - 0.05, Math.max(0.05, at.phi + over));
      offset.setFromSpherical(at).applyQuaternion(upright.invert());
      this.camera.position.copy(this.controls.target).add(offset);
      this.controls.update();
      this.draw();
    },
    zoom(by) {
      const offset = this.camera.position.clone().sub(this.controls.target).multiplyScalar(by);
      offset.clampLength(this.controls.minDistance, this.controls.maxDistance);
      this.camera.position.copy(this.controls.target).add(offset);
      this.controls.update();
      this.draw();
    },
    toggle() {
      this.onPlate = !this.onPlate;
      this.show();
    },
    onKey(event) {
      const acts = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]};
      if (event.key in acts) this.turn(...acts[event.key]);
      else if (event.key === "+" || event.key === "=") this.zoom(0.8);
      else if (event.key === "-") this.zoom(1.25);
      else return;
      event.preventDefault();
    },
  },
};
